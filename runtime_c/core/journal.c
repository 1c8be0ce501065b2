/* The journal: what a mirror needs to be again what it was. Records go out as bytes; loading them repeats what they say.
 *
 * A record is: length of the body (4 bytes), check (4 bytes: the low half of a hash of the body), body. A body begins with its kind. Damage is
 * reported with its offset, never skipped. Knows no disk: the driver appends, and says when it is durable.
 */
#include "core.h"

enum { RECORD_START = 1, RECORD_COMMIT, RECORD_SHIPPED, RECORD_APPLY, RECORD_SKIP, RECORD_FRESH, RECORD_ACKED };

#define HEAD 8u
#define ACKED_EACH 4096u /* held bytes of the log which acknowledgements cut, for one record of it */
#define CHECK_SEED UINT64_C(0x676C61736A6F7572)

static uint32_t check_of(const uint8_t *body, size_t n) { return (uint32_t)glas_hash_bytes(body, n, CHECK_SEED); }

static void put_u32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static size_t begin(glas_core *core, uint8_t kind)
{
    static const uint8_t head[HEAD];
    size_t start = core->journal.n;
    glas_put_bytes(&core->journal, head, HEAD);
    glas_put_byte(&core->journal, kind);
    return start;
}

/* Seals the record, or takes it back where memory ran out. */
static bool end(glas_core *core, size_t start)
{
    glas_writer *journal = &core->journal;
    size_t n = journal->n - start - HEAD;
    if (journal->failed || n > UINT32_MAX) {
        journal->n = start;
        journal->failed = false;
        return false;
    }
    put_u32(journal->p + start, (uint32_t)n);
    put_u32(journal->p + start + 4, check_of(journal->p + start + HEAD, n));
    core->journal_end += n + HEAD;
    return true;
}

bool glas_journal_start(glas_core *core)
{
    if (!core->config.durable) return true;
    size_t start = begin(core, RECORD_START);
    glas_put_uint(&core->journal, core->incarnation);
    glas_put_u64(&core->journal, core->cluster);
    glas_put_uint(&core->journal, core->self);
    return end(core, start);
}

bool glas_journal_commit(glas_core *core, const uint8_t *entry, size_t n, const glas_call *shipped, const glas_writer *result)
{
    if (!core->config.durable) return true;
    glas_writer *journal = &core->journal;
    size_t start = begin(core, shipped == NULL ? RECORD_COMMIT : RECORD_SHIPPED);
    if (shipped != NULL) {
        glas_put_uint(journal, shipped->started_at);
        glas_put_uint(journal, shipped->incarnation);
        glas_put_uint(journal, shipped->id);
        glas_put_uint(journal, shipped->lowest);
        glas_put_uint(journal, result->n);
        glas_put_bytes(journal, result->p, result->n);
    }
    glas_put_int(journal, core->txn.time);
    glas_put_bytes(journal, entry, n);
    return end(core, start);
}

bool glas_journal_apply(glas_core *core, uint32_t from, int64_t time, const uint8_t *bytes, size_t n)
{
    if (!core->config.durable) return true;
    size_t start = begin(core, RECORD_APPLY);
    glas_put_uint(&core->journal, from);
    glas_put_int(&core->journal, time);
    glas_put_bytes(&core->journal, bytes, n);
    return end(core, start);
}

bool glas_journal_skip(glas_core *core, uint32_t from, uint64_t count, const uint64_t *causes, int64_t time)
{
    if (!core->config.durable) return true;
    size_t start = begin(core, RECORD_SKIP);
    glas_put_uint(&core->journal, from);
    glas_put_int(&core->journal, time);
    glas_put_uint(&core->journal, count);
    glas_put_causes(core, &core->journal, causes);
    return end(core, start);
}

/* How young replicas are is worth a record only now and then: a restart may find them a little older than they are. */
void glas_journal_fresh(glas_core *core, uint32_t from)
{
    glas_peer *peer = &core->peers[from];
    int64_t shortest = GLAS_NEVER;
    for (uint32_t i = 0; i < core->app->state_count; i++)
        if (core->app->states[i].stale_us != 0 && core->app->states[i].stale_us < shortest) shortest = core->app->states[i].stale_us;
    if (!core->config.durable || shortest == GLAS_NEVER) return;
    if (peer->fresh_saved != INT64_MIN && peer->fresh - peer->fresh_saved < shortest / 64) return;
    size_t start = begin(core, RECORD_FRESH);
    glas_put_uint(&core->journal, from);
    glas_put_int(&core->journal, peer->fresh - core->lag);
    if (end(core, start)) peer->fresh_saved = peer->fresh;
}

/* Without it a restart would keep, and count towards max_log, all that was acknowledged since the snapshot. By how much of the log it
 * concerns it costs next to nothing; a restart may keep a little too much. Of single mirrors a HELLO tells the rest. */
void glas_journal_acked(glas_core *core)
{
    glas_own_log *log = &core->log;
    bool much = log->unsaved >= ACKED_EACH || log->unsaved >= core->config.max_log / 8;
    if (!core->config.durable || log->unsaved == 0 || !much) return;
    size_t start = begin(core, RECORD_ACKED);
    glas_put_uint(&core->journal, glas_log_acked_by_all(core));
    if (end(core, start)) log->unsaved = 0;
}

/* ------------------------------------------------------------------ sessions: answers to shipped calls, kept for repeats */

/* Those of a mirror stand in the order of their numbers. The first one of at least `call`: */
static uint32_t session_at(const glas_peer *peer, uint64_t call)
{
    uint32_t low = 0, high = peer->done_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (peer->done[middle].number < call) low = middle + 1;
        else high = middle;
    }
    return low;
}

bool glas_session_keep(glas_core *core, uint32_t number, uint64_t call, const uint8_t *result, size_t n)
{
    glas_peer *peer = &core->peers[number];
    if (!glas_heap_reserve(&core->heap, &peer->done, &peer->done_capacity, (uint64_t)peer->done_count + 1, sizeof *peer->done)) return false;
    uint8_t *copy = glas_heap_resize(&core->heap, NULL, 0, n);
    if (copy == NULL && n != 0) return false;
    if (n != 0) memcpy(copy, result, n);
    uint32_t at = session_at(peer, call);
    memmove(peer->done + at + 1, peer->done + at, (peer->done_count++ - at) * sizeof *peer->done);
    peer->done[at] = (glas_session){.number = call, .result = copy, .n = (uint32_t)n};
    return true;
}

glas_session *glas_session_find(glas_core *core, uint32_t number, uint64_t call)
{
    glas_peer *peer = &core->peers[number];
    uint32_t at = session_at(peer, call);
    return at < peer->done_count && peer->done[at].number == call ? &peer->done[at] : NULL;
}

/* Drops [from, to) of a mirror's. */
static void drop_sessions(glas_core *core, glas_peer *peer, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) glas_heap_resize(&core->heap, peer->done[i].result, peer->done[i].n, 0);
    if (from == to) return;
    memmove(peer->done + from, peer->done + to, (peer->done_count - to) * sizeof *peer->done);
    peer->done_count -= to - from;
}

void glas_session_prune(glas_core *core, uint32_t number, uint64_t below)
{
    glas_peer *peer = &core->peers[number];
    drop_sessions(core, peer, 0, session_at(peer, below));
}

void glas_session_forget(glas_core *core, uint32_t number, uint64_t call)
{
    glas_peer *peer = &core->peers[number];
    uint32_t at = session_at(peer, call);
    if (at < peer->done_count && peer->done[at].number == call) drop_sessions(core, peer, at, at + 1);
}

/* Keeps of those up to `most` only the ones marked as open. */
void glas_session_drop_closed(glas_core *core, uint32_t number, uint64_t most)
{
    glas_peer *peer = &core->peers[number];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < peer->done_count; i++) {
        glas_session *it = &peer->done[i];
        if (it->open || it->number > most) peer->done[kept++] = *it;
        else glas_heap_resize(&core->heap, it->result, it->n, 0);
    }
    peer->done_count = kept;
    for (uint32_t i = 0; i < kept; i++) peer->done[i].open = false;
}

/* What was asked for on an earlier link is asked for again. */
void glas_session_none_due(glas_core *core, uint32_t number)
{
    glas_peer *peer = &core->peers[number];
    for (uint32_t i = 0; i < peer->done_count; i++) peer->done[i].due = peer->done[i].open = false;
}

/* ------------------------------------------------------------------ loading */

static bool take_mirror(const glas_core *core, glas_reader *reader, uint32_t *mirror)
{
    uint64_t number;
    if (!glas_take_uint(reader, core->mirrors - 1, &number)) return false;
    *mirror = (uint32_t)number;
    return true;
}

static void advance_time(glas_core *core, int64_t time)
{
    if (time > core->now) core->now = time;
}

static glas_applied load_own(glas_core *core, glas_reader *reader)
{
    glas_peer *self = &core->peers[core->self];
    uint64_t count;
    int64_t time;
    if (!glas_take_int(reader, &time)) return GLAS_APPLY_BAD;
    reader->base_time = time;
    size_t start = reader->at;
    if (!glas_take_uint(reader, core->mirrors, &count) || !glas_take_causes(core, reader, count, self->causes)) return GLAS_APPLY_BAD;
    bool needed;
    glas_applied applied = glas_entry_apply(core, reader, core->self, &needed);
    if (applied != GLAS_APPLIED) return applied;
    if (!needed && count != 0) return glas_take_bad(reader), GLAS_APPLY_BAD; /* nobody would ever be told these causes */
    bool kept = needed ? glas_log_append(core, reader->p + start, reader->at - start, time) : glas_log_append_run(core, 1, time);
    if (!kept) return GLAS_APPLY_NO_MEMORY;
    if (needed) core->applied_since = false;
    advance_time(core, time);
    return GLAS_APPLIED;
}

static glas_applied load_shipped(glas_core *core, glas_reader *reader)
{
    uint32_t from;
    uint64_t incarnation, number, lowest, n;
    const uint8_t *result;
    if (!take_mirror(core, reader, &from) || !glas_take_uint(reader, UINT64_MAX, &incarnation)) return GLAS_APPLY_BAD;
    if (!glas_take_uint(reader, GLAS_CALL_MOST, &number) || !glas_take_uint(reader, UINT64_MAX, &lowest)) return GLAS_APPLY_BAD;
    if (!glas_take_uint(reader, UINT32_MAX, &n) || !glas_take_bytes(reader, (size_t)n, &result)) return GLAS_APPLY_BAD;
    if (incarnation > core->peers[from].incarnation) {
        core->peers[from].incarnation = incarnation;
        glas_session_prune(core, from, UINT64_MAX);
    }
    glas_session_prune(core, from, lowest);
    if (!glas_session_keep(core, from, number, result, (size_t)n)) return GLAS_APPLY_NO_MEMORY;
    return load_own(core, reader);
}

static glas_applied load_apply(glas_core *core, glas_reader *reader)
{
    uint32_t from;
    uint64_t count;
    int64_t time;
    bool needed;
    if (!take_mirror(core, reader, &from) || from == core->self || !glas_take_int(reader, &time)) return GLAS_APPLY_BAD;
    glas_peer *peer = &core->peers[from];
    reader->base_time = time;
    if (!glas_take_uint(reader, core->mirrors, &count) || !glas_take_causes(core, reader, count, peer->causes)) return GLAS_APPLY_BAD;
    glas_applied applied = glas_entry_apply(core, reader, from, &needed);
    if (applied != GLAS_APPLIED) return applied;
    peer->applied++;
    peer->last_time = time;
    core->applied_since = true;
    advance_time(core, time);
    return GLAS_APPLIED;
}

static glas_applied load_skip(glas_core *core, glas_reader *reader)
{
    uint32_t from;
    uint64_t count, pairs;
    int64_t time;
    if (!take_mirror(core, reader, &from) || from == core->self || !glas_take_int(reader, &time)) return GLAS_APPLY_BAD;
    glas_peer *peer = &core->peers[from];
    if (!glas_take_uint(reader, UINT64_MAX / 2, &count) || !glas_take_uint(reader, core->mirrors, &pairs)) return GLAS_APPLY_BAD;
    if (!glas_take_causes(core, reader, pairs, peer->causes)) return GLAS_APPLY_BAD;
    peer->applied += count;
    peer->last_time = time;
    core->applied_since = true;
    advance_time(core, time);
    return GLAS_APPLIED;
}

static glas_applied load_fresh(glas_core *core, glas_reader *reader)
{
    uint32_t from;
    int64_t time;
    if (!take_mirror(core, reader, &from) || !glas_take_int(reader, &time)) return GLAS_APPLY_BAD;
    core->peers[from].fresh = core->peers[from].fresh_saved = time;
    return GLAS_APPLIED;
}

/* Records name mirrors by their place in the roster: with another roster they would mean others. */
static glas_applied load_start(glas_core *core, glas_reader *reader)
{
    uint64_t cluster, self;
    if (!glas_take_uint(reader, UINT64_MAX, &core->incarnation) || !glas_take_u64(reader, &cluster)) return GLAS_APPLY_BAD;
    if (!glas_take_uint(reader, UINT32_MAX, &self)) return GLAS_APPLY_BAD;
    return cluster == core->cluster && self == core->self ? GLAS_APPLIED : GLAS_APPLY_OTHER;
}

static glas_applied load_acked(glas_core *core, glas_reader *reader)
{
    uint64_t number;
    if (!glas_take_uint(reader, core->log.next - 1, &number)) return GLAS_APPLY_BAD;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != core->self && core->peers[i].acked < number) core->peers[i].acked = number;
    glas_log_cut(core, number);
    core->log.unsaved = 0;
    return GLAS_APPLIED;
}

static glas_applied load_record(glas_core *core, glas_reader *reader)
{
    uint8_t kind;
    if (!glas_take_byte(reader, &kind)) return GLAS_APPLY_BAD;
    switch (kind) {
    case RECORD_START: return load_start(core, reader);
    case RECORD_COMMIT: return load_own(core, reader);
    case RECORD_SHIPPED: return load_shipped(core, reader);
    case RECORD_APPLY: return load_apply(core, reader);
    case RECORD_SKIP: return load_skip(core, reader);
    case RECORD_FRESH: return load_fresh(core, reader);
    case RECORD_ACKED: return load_acked(core, reader);
    default: return GLAS_APPLY_BAD;
    }
}

/* One line "what at byte N" into `error`, which is always terminated. */
static bool report(char *error, size_t size, const char *what, uint64_t at)
{
    char digits[20];
    size_t n = glas_int_format((int64_t)at, digits), used = 0;
    for (; what[used] != 0 && used + 1 < size; used++) error[used] = what[used];
    for (size_t i = 0; i < n && used + 1 < size; i++) error[used++] = digits[i];
    error[used] = 0;
    return false;
}

/* Each record is repeated as a transaction of its own, so that memory running out leaves a sound state behind. */
static bool load_one(glas_core *core, const uint8_t *body, size_t n, uint64_t at, char *error, size_t error_size)
{
    glas_reader reader = glas_reader_over(body, n);
    glas_txn_begin(core, NULL, core->self);
    glas_applied applied = load_record(core, &reader);
    if (applied == GLAS_APPLIED && reader.at == n) {
        glas_txn_finish(core);
        return true;
    }
    glas_txn_abort(core);
    if (applied == GLAS_APPLY_OTHER) return report(error, error_size, GLAS_OTHER_ROSTER "; journal byte ", at);
    if (applied == GLAS_APPLY_NO_MEMORY) return report(error, error_size, "out of memory while loading the journal at byte ", at);
    return report(error, error_size, "the journal is damaged: a record does not make sense at byte ", at + HEAD + reader.at);
}

bool glas_journal_load(glas_core *core, glas_bytes bytes, uint64_t end_position, char *error, size_t error_size)
{
    uint64_t begin_position = end_position - bytes.n;
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (end_position < bytes.n || begin_position != core->journal_end)
        return report(error, error_size, "the journal has a gap or an overlap: bytes are missing before byte ", begin_position);
    for (size_t at = 0; at < bytes.n;) {
        size_t left = bytes.n - at;
        uint32_t n = left < HEAD ? 0 : get_u32(p + at);
        if (left < HEAD || n == 0 || n > left - HEAD) return report(error, error_size, "the journal is damaged: a record is cut short at byte ", begin_position + at);
        if (get_u32(p + at + 4) != check_of(p + at + HEAD, n))
            return report(error, error_size, "the journal is damaged: a record's check does not match at byte ", begin_position + at);
        if (!load_one(core, p + at + HEAD, n, begin_position + at, error, error_size)) return false;
        at += HEAD + n;
    }
    core->journal_end = core->durable = end_position;
    return true;
}
