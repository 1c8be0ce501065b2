/* A snapshot: the whole state of a mirror as bytes, so that the journal before it is needed no more.
 *
 * One list of fields serves writing and reading, in one order. It begins with what it is of, and ends with a check of all before.
 */
#include "core.h"

#define MAGIC UINT64_C(0x31736E6170616C67)
#define CHECK_SEED UINT64_C(0x676C6173736E6170)

static void put_head(glas_core *core, glas_writer *writer)
{
    glas_put_u64(writer, MAGIC);
    glas_put_bytes(writer, core->app->protocol_id, 16);
    glas_put_u64(writer, core->cluster);
    glas_put_uint(writer, core->self);
    glas_put_uint(writer, core->journal_end);
    glas_put_uint(writer, core->incarnation);
    glas_put_int(writer, core->now);
}

static void put_peer(const glas_core *core, glas_writer *writer, const glas_peer *peer)
{
    glas_put_uint(writer, peer->applied);
    glas_put_uint(writer, peer->acked);
    glas_put_int(writer, peer->last_time);
    glas_put_int(writer, peer->fresh == INT64_MIN ? INT64_MIN : peer->fresh - core->lag);
    glas_put_uint(writer, peer->incarnation);
    for (uint32_t i = 0; i < core->mirrors; i++) glas_put_uint(writer, peer->causes[i]);
    glas_put_uint(writer, peer->done_count);
    for (uint32_t i = 0; i < peer->done_count; i++) {
        glas_put_uint(writer, peer->done[i].number);
        glas_put_uint(writer, peer->done[i].n);
        glas_put_bytes(writer, peer->done[i].result, peer->done[i].n);
    }
}

static void put_log(const glas_core *core, glas_writer *writer)
{
    const glas_own_log *log = &core->log;
    glas_put_uint(writer, log->first);
    glas_put_uint(writer, log->next);
    glas_put_int(writer, log->last_time);
    for (uint64_t i = log->first; i < log->next;) {
        const glas_own_entry *entry = glas_log_entry(log, i);
        glas_put_int(writer, entry->time);
        glas_put_uint(writer, entry->n);
        if (entry->n == 0) glas_put_uint(writer, entry->last + 1 - i); /* of the run, those not acknowledged by all */
        glas_put_bytes(writer, entry->bytes, entry->n);
        i = entry->last + 1;
    }
}

static void put_row_value(const glas_core *core, glas_writer *writer, const glas_state *state, uint32_t row)
{
    const void *at = glas_table_value(&state->table, row);
    if (state->info->value != NULL) {
        state->info->value->put(writer, at);
        return;
    }
    if (state->info->kind == GLAS_COUNTER || state->info->kind == GLAS_DICT_COUNTER) {
        unsigned __int128 sum = (unsigned __int128) * (const __int128 *)at;
        glas_put_u64(writer, (uint64_t)sum);
        glas_put_u64(writer, (uint64_t)(sum >> 64));
        return;
    }
    for (uint32_t i = 0; i < core->mirrors; i++) glas_put_uint(writer, (uint64_t)((const int64_t *)at)[i]);
}

static void put_state(const glas_core *core, glas_writer *writer, const glas_state *state)
{
    const glas_table *table = &state->table;
    if (state->info->kind == GLAS_QUEUE) {
        glas_put_uint(writer, state->ring.count);
        for (uint32_t i = 0; i < state->ring.count; i++) state->info->value->put(writer, glas_ring_item(state, i));
        return;
    }
    glas_put_uint(writer, table->count);
    for (uint32_t row = 0; row < table->count; row++) {
        if (table->key != NULL) table->key->put(writer, glas_table_key(table, row));
        put_row_value(core, writer, state, row);
    }
}

void glas_snapshot_write(glas_core *core)
{
    glas_writer *writer = &core->snapshot;
    glas_txn_settle(core);
    writer->n = 0;
    writer->failed = false;
    writer->base_time = 0;
    put_head(core, writer);
    for (uint32_t i = 0; i < core->mirrors; i++) put_peer(core, writer, &core->peers[i]);
    put_log(core, writer);
    for (uint32_t i = 0; i < core->app->state_count; i++)
        if (!glas_mem_state(core, i)) put_state(core, writer, &core->states[i]);
    if (!writer->failed) glas_put_u64(writer, glas_hash_bytes(writer->p, writer->n, CHECK_SEED));
    core->snapshot_wanted = !writer->failed;
    core->snapshot_position = core->journal_end;
    if (writer->failed) glas_out_log(core, GLAS_LOG_WARNING, (glas_text[]){GLAS_T("no memory for a snapshot: the journal goes on growing")}, 1);
}

/* ------------------------------------------------------------------ loading */

static bool take_head(glas_core *core, glas_reader *reader, const char **why)
{
    uint64_t magic, cluster, self;
    const uint8_t *protocol;
    *why = "this is no snapshot, at byte ";
    if (!glas_take_u64(reader, &magic) || magic != MAGIC || !glas_take_bytes(reader, 16, &protocol)) return false;
    *why = "the snapshot is of another app or version, at byte ";
    if (memcmp(protocol, core->app->protocol_id, 16) != 0) return false;
    *why = GLAS_OTHER_ROSTER "; snapshot byte ";
    if (!glas_take_u64(reader, &cluster) || cluster != core->cluster) return false;
    *why = "the snapshot is of another mirror, at byte ";
    if (!glas_take_uint(reader, UINT32_MAX, &self) || self != core->self) return false;
    *why = "the snapshot is damaged at byte ";
    return glas_take_uint(reader, UINT64_MAX, &core->journal_end) && glas_take_uint(reader, UINT64_MAX, &core->incarnation) && glas_take_int(reader, &core->now);
}

static bool take_peer(glas_core *core, glas_reader *reader, uint32_t number)
{
    glas_peer *peer = &core->peers[number];
    uint64_t count;
    if (!glas_take_uint(reader, UINT64_MAX, &peer->applied) || !glas_take_uint(reader, UINT64_MAX, &peer->acked)) return false;
    if (!glas_take_int(reader, &peer->last_time) || !glas_take_int(reader, &peer->fresh) || !glas_take_uint(reader, UINT64_MAX, &peer->incarnation)) return false;
    peer->fresh_saved = peer->fresh;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (!glas_take_uint(reader, UINT64_MAX, &peer->causes[i])) return false;
    if (!glas_take_uint(reader, UINT32_MAX, &count)) return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t call, n;
        const uint8_t *result;
        if (!glas_take_uint(reader, UINT64_MAX, &call) || !glas_take_uint(reader, UINT32_MAX, &n) || !glas_take_bytes(reader, (size_t)n, &result)) return false;
        if (!glas_session_keep(core, number, call, result, (size_t)n)) return false;
    }
    return true;
}

static bool take_log(glas_core *core, glas_reader *reader)
{
    uint64_t first, next, n;
    int64_t last_time;
    if (!glas_take_uint(reader, UINT64_MAX / 2, &first) || !glas_take_uint(reader, UINT64_MAX / 2, &next) || !glas_take_int(reader, &last_time)) return false;
    if (first == 0 || next < first) return glas_take_bad(reader);
    core->log.first = core->log.next = first;
    for (uint64_t i = first, count = 1; i < next; i += count) {
        int64_t time;
        const uint8_t *bytes;
        if (!glas_take_int(reader, &time) || !glas_take_uint(reader, UINT32_MAX, &n)) return false;
        count = 1;
        if (n == 0 && (!glas_take_uint(reader, next - i, &count) || count == 0)) return glas_take_bad(reader);
        if (!glas_take_bytes(reader, (size_t)n, &bytes)) return false;
        if (n == 0 ? !glas_log_append_run(core, count, time) : !glas_log_append(core, bytes, (size_t)n, time)) return false;
    }
    core->log.last_time = last_time;
    return true;
}

static bool take_row_value(glas_core *core, glas_reader *reader, glas_state *state, uint32_t row)
{
    void *at = glas_table_value(&state->table, row);
    if (state->info->kind == GLAS_COUNTER || state->info->kind == GLAS_DICT_COUNTER) {
        uint64_t low, high;
        if (!glas_take_u64(reader, &low) || !glas_take_u64(reader, &high)) return false;
        *(__int128 *)at = (__int128)((unsigned __int128)high << 64 | low);
        return true;
    }
    for (uint32_t i = 0; i < core->mirrors; i++) {
        uint64_t rights;
        if (!glas_take_uint(reader, INT64_MAX, &rights)) return false;
        ((int64_t *)at)[i] = (int64_t)rights;
    }
    return true;
}

static bool take_row(glas_core *core, glas_reader *reader, uint32_t number)
{
    glas_state *state = &core->states[number];
    void *key = NULL, *value = NULL;
    glas_arena_reset(&core->wire_arena);
    if (state->info->key != NULL) {
        key = glas_arena_take(&core->wire_arena, state->info->key->size);
        if (key == NULL) return false;
        memset(key, 0, state->info->key->size);
        if (!state->info->key->take(reader, key)) return false;
    }
    if (state->info->value != NULL) {
        value = glas_arena_take(&core->wire_arena, state->info->value->size);
        if (value == NULL) return false;
        memset(value, 0, state->info->value->size);
        return state->info->value->take(reader, value) && glas_value_set(&core->txn, number, key, value);
    }
    uint32_t row = glas_table_find(&state->table, key);
    if (row == GLAS_NO_ROW) row = glas_table_add(&core->heap, &state->table, key);
    return row != GLAS_NO_ROW && take_row_value(core, reader, state, row);
}

static bool take_item(glas_core *core, glas_reader *reader, glas_state *state)
{
    glas_arena_reset(&core->wire_arena);
    void *value = glas_arena_take(&core->wire_arena, state->info->value->size);
    if (value == NULL) return false;
    memset(value, 0, state->info->value->size);
    return state->info->value->take(reader, value) && glas_ring_push(&core->heap, state, value);
}

static bool take_state(glas_core *core, glas_reader *reader, uint32_t number)
{
    glas_state *state = &core->states[number];
    uint64_t count;
    if (!glas_take_uint(reader, UINT32_MAX, &count)) return false;
    for (uint64_t i = 0; i < count; i++) {
        glas_txn_begin(core, NULL, core->self);
        bool ok = state->info->kind == GLAS_QUEUE ? take_item(core, reader, state) : take_row(core, reader, number);
        glas_txn_finish(core);
        if (!ok) return false;
    }
    return true;
}

static bool take_all(glas_core *core, glas_reader *reader, const char **why)
{
    if (!take_head(core, reader, why)) return false;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (!take_peer(core, reader, i)) return false;
    if (!take_log(core, reader)) return false;
    for (uint32_t i = 0; i < core->app->state_count; i++)
        if (!glas_mem_state(core, i) && !take_state(core, reader, i)) return false;
    core->durable = core->journal_end;
    core->applied_since = true;
    return reader->at == reader->n;
}

bool glas_snapshot_load(glas_core *core, glas_bytes bytes, char *error, size_t error_size)
{
    const char *why = "the snapshot is damaged: its check does not match, in bytes up to ";
    glas_reader reader = glas_reader_over(bytes.p, bytes.n < 8 ? 0 : bytes.n - 8), check = glas_reader_over(bytes.p, bytes.n);
    uint64_t expected = 0;
    check.at = reader.n;
    bool ok = bytes.n >= 8 && glas_take_u64(&check, &expected) && expected == glas_hash_bytes(bytes.p, reader.n, CHECK_SEED);
    if (ok && take_all(core, &reader, &why)) return true;
    char digits[20];
    size_t used = 0, n = glas_int_format((int64_t)(ok ? reader.at : bytes.n), digits);
    for (; why[used] != 0 && used + 1 < error_size; used++) error[used] = why[used];
    for (size_t i = 0; i < n && used + 1 < error_size; i++) error[used++] = digits[i];
    error[used] = 0;
    return false;
}
