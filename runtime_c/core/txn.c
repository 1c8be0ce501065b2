/* The running transaction: its changes, undo, texts, messages. Knows no log and no link.
 *
 * ARCHITECTURE.md, the core: one transaction at a time. A change is made in place and noted; undo walks the notes backwards. Old values are dropped
 * only by the next begin, so texts borrowed from them stay good until the reply has been taken.
 */
#include "core.h"

#define MAX_CHANGES (UINT32_C(1) << 20) /* of one transaction */

glas_status glas_txn_error(glas_txn *txn, const char *message)
{
    txn->message = glas_cstring(message);
    return GLAS_ERROR;
}

glas_status glas_no_memory(glas_txn *txn)
{
    txn->no_memory = true;
    return glas_txn_error(txn, "out of memory: the transaction needs more than this mirror may hold");
}

void *glas_txn_keep(glas_txn *txn, const void *bytes, size_t n)
{
    void *copy = glas_arena_take(&txn->arena, n == 0 ? 1 : n);
    if (copy != NULL && n != 0) memcpy(copy, bytes, n);
    return copy;
}

glas_text glas_txn_text(glas_txn *txn, const glas_text *parts, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += parts[i].n;
    char *to = glas_arena_take(&txn->arena, n == 0 ? 1 : n);
    if (to == NULL || n > UINT32_MAX) return (glas_text){NULL, 0};
    size_t at = 0;
    for (size_t i = 0; i < count; at += parts[i].n, i++)
        if (parts[i].n != 0) memcpy(to + at, parts[i].p, parts[i].n);
    return (glas_text){to, (uint32_t)n};
}

glas_change *glas_txn_change(glas_txn *txn, glas_change_kind kind, uint32_t state, uint32_t row)
{
    if (txn->change_count >= MAX_CHANGES) return NULL;
    if (!glas_heap_reserve(&txn->core->heap, &txn->changes, &txn->change_capacity, (uint64_t)txn->change_count + 1, sizeof *txn->changes)) return NULL;
    glas_change *change = &txn->changes[txn->change_count++];
    *change = (glas_change){.kind = (uint8_t)kind, .state = (uint16_t)state, .row = row};
    return change;
}

void glas_value_drop(glas_core *core, const glas_type *type, void *value)
{
    if (!type->plain) type->drop(&core->heap, value);
}

static void undo_change(glas_core *core, const glas_change *change)
{
    glas_state *state = &core->states[change->state];
    switch ((glas_change_kind)change->kind) {
    case GLAS_ROW_SET:
        glas_value_drop(core, state->info->value, glas_table_value(&state->table, change->row));
        memcpy(glas_table_value(&state->table, change->row), change->old, state->value_size);
        break;
    case GLAS_ROW_NEW:
        GLAS_ASSERT(change->row == state->table.count - 1);
        if (state->info->value != NULL) glas_value_drop(core, state->info->value, glas_table_value(&state->table, change->row));
        glas_table_take_back(&core->heap, &state->table);
        break;
    case GLAS_ADDED:
        *(__int128 *)glas_table_value(&state->table, change->row) -= change->delta;
        break;
    case GLAS_GAINED:
        ((int64_t *)glas_table_value(&state->table, change->row))[change->mirror] -= change->delta;
        break;
    case GLAS_TOOK:
        if (GLAS_PLANT != 4) glas_ring_untake(state);
        break;
    case GLAS_WROTE:
        if (change->here && GLAS_PLANT != 4) glas_ring_unpush(&core->heap, state);
        break;
    }
}

glas_mark glas_save(glas_txn *txn) { return (glas_mark){.undo = txn->change_count, .logs = txn->line_count}; }

void glas_undo(glas_txn *txn, glas_mark mark)
{
    GLAS_ASSERT(mark.undo <= txn->change_count && mark.logs <= txn->line_count);
    while (txn->change_count > mark.undo) undo_change(txn->core, &txn->changes[--txn->change_count]);
    txn->line_count = mark.logs;
}

bool glas_txn_settle(glas_core *core)
{
    glas_txn *txn = &core->txn;
    for (uint32_t i = 0; txn->committed && i < txn->change_count; i++) {
        glas_change *change = &txn->changes[i];
        glas_state *state = &core->states[change->state];
        if (change->kind == GLAS_ROW_SET) glas_value_drop(core, state->info->value, change->old);
        if (change->kind == GLAS_TOOK) glas_ring_settle(&core->heap, state);
    }
    txn->committed = false;
    txn->change_count = txn->line_count = 0;
    glas_arena_reset(&txn->arena);
    return true;
}

void glas_txn_begin(glas_core *core, const glas_method_info *method, uint32_t started_at)
{
    glas_txn *txn = &core->txn;
    glas_txn_settle(core);
    txn->method = method;
    txn->serial++;
    txn->started_at = started_at;
    txn->time = core->now;
    txn->body = (glas_text){NULL, 0};
    txn->invariant = method != NULL && method->kind == GLAS_INVARIANT;
    txn->missed_owner = GLAS_NO_MIRROR;
    txn->message = (glas_text){NULL, 0};
    txn->read_clock = txn->no_memory = false;
}

void glas_txn_finish(glas_core *core) { core->txn.committed = true; }

void glas_txn_abort(glas_core *core) { glas_undo(&core->txn, (glas_mark){0}); }

/* ------------------------------------------------------------------ what methods call */

glas_status glas_error(glas_txn *txn, glas_where where, glas_text message)
{
    txn->message = glas_txn_text(txn, (glas_text[]){glas_cstring(where), GLAS_T(": "), message}, 3);
    return GLAS_ERROR;
}

glas_status glas_overflow(glas_txn *txn, glas_where where, int64_t a, char op, int64_t b)
{
    char left[20], right[20], sign[3] = {' ', op, ' '};
    glas_text parts[] = {glas_cstring(where), GLAS_T(": Int overflow: "), {left, (uint32_t)glas_int_format(a, left)},
                         {sign, 3}, {right, (uint32_t)glas_int_format(b, right)}, GLAS_T(" does not fit in 64 bits")};
    txn->message = glas_txn_text(txn, parts, 6);
    return GLAS_ERROR;
}

glas_status glas_div(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where)
{
    if (b == 0) return glas_error(txn, where, GLAS_T("division by zero"));
    if (a == INT64_MIN && b == -1) return glas_overflow(txn, where, a, '/', b);
    *result = a / b;
    return GLAS_OK;
}

glas_status glas_rem(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where)
{
    if (b == 0) return glas_error(txn, where, GLAS_T("division by zero"));
    *result = b == -1 ? 0 : a % b;
    return GLAS_OK;
}

glas_status glas_join(glas_txn *txn, const glas_text *parts, size_t count, glas_text *result)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += parts[i].n;
    if (n > txn->core->config.max_text) return glas_txn_error(txn, "a text would be longer than max_text allows");
    *result = glas_txn_text(txn, parts, count);
    return result->p == NULL ? glas_no_memory(txn) : GLAS_OK;
}

glas_status glas_int_to_text(glas_txn *txn, int64_t value, glas_text *result)
{
    char *to = glas_arena_take(&txn->arena, 20);
    if (to == NULL) return glas_no_memory(txn);
    *result = (glas_text){to, (uint32_t)glas_int_format(value, to)};
    return GLAS_OK;
}

glas_status glas_bool_to_text(glas_txn *txn, uint8_t value, glas_text *result)
{
    (void)txn;
    *result = value ? GLAS_T("true") : GLAS_T("false");
    return GLAS_OK;
}

glas_status glas_time_to_text(glas_txn *txn, int64_t value, glas_text *result)
{
    char *to = glas_arena_take(&txn->arena, GLAS_TIME_TEXT);
    if (to == NULL) return glas_no_memory(txn);
    *result = (glas_text){to, (uint32_t)glas_time_format(value, to)};
    return GLAS_OK;
}

glas_status glas_json_write(glas_txn *txn, const glas_type *type, const void *value, glas_text *result)
{
    glas_writer *writer = &txn->core->scratch;
    writer->n = 0;
    writer->failed = false;
    type->to_json(writer, value);
    if (writer->failed) return glas_no_memory(txn);
    if (writer->n > txn->core->config.max_text) return glas_txn_error(txn, "a text would be longer than max_text allows");
    const char *copy = glas_txn_keep(txn, writer->p, writer->n);
    if (copy == NULL) return glas_no_memory(txn);
    *result = (glas_text){copy, (uint32_t)writer->n};
    return GLAS_OK;
}

glas_status glas_json_read(glas_txn *txn, const glas_type *type, glas_text text, void *result)
{
    glas_json json = {.p = (const uint8_t *)text.p, .n = text.n, .arena = &txn->arena};
    memset(result, 0, type->size);
    bool fits = type->from_json(&json, result) && glas_json_at_end(&json);
    if (json.no_memory) return glas_no_memory(txn);
    return fits ? GLAS_OK : GLAS_FAIL;
}

glas_text glas_mirror_name(glas_txn *txn) { return txn->core->peers[txn->started_at].name; }

int64_t glas_now(glas_txn *txn)
{
    txn->read_clock = true;
    return txn->time;
}

glas_status glas_request_body(glas_txn *txn, glas_text *body)
{
    *body = txn->body;
    return glas_is_utf8((const uint8_t *)txn->body.p, txn->body.n) ? GLAS_OK : GLAS_FAIL;
}

glas_status glas_log(glas_txn *txn, glas_text line)
{
    if (!glas_heap_reserve(&txn->core->heap, &txn->lines, &txn->line_capacity, (uint64_t)txn->line_count + 1, sizeof *txn->lines)) return glas_no_memory(txn);
    txn->lines[txn->line_count++] = line;
    return GLAS_OK;
}
