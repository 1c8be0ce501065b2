/* This mirror's own log, what is known of others' logs, and causality between them. Knows no disk and no link.
 *
 * Semantics 3.2: an entry is applied after its causes. An entry's causes are sent as the growth of its mirror's frontier since that
 * mirror's entry before, so both ends keep a running vector for each log.
 */
#include "core.h"

bool glas_log_open(glas_core *core)
{
    core->log.first = core->log.next = 1;
    core->vector = glas_heap_resize(&core->heap, NULL, 0, core->mirrors * sizeof(uint64_t));
    core->run = glas_heap_resize(&core->heap, NULL, 0, core->mirrors * sizeof(uint64_t));
    if (core->vector == NULL || core->run == NULL) return false;
    for (uint32_t i = 0; i < core->mirrors; i++) {
        glas_peer *peer = &core->peers[i];
        peer->causes = glas_heap_resize(&core->heap, NULL, 0, core->mirrors * sizeof(uint64_t));
        if (peer->causes == NULL) return false;
        memset(peer->causes, 0, core->mirrors * sizeof(uint64_t));
    }
    return true;
}

static void drop_oldest(glas_core *core)
{
    glas_own_log *log = &core->log;
    glas_own_entry *entry = glas_log_entry(log, log->first);
    log->cut = entry->end;
    glas_heap_resize(&core->heap, entry->bytes, entry->n, 0);
    log->first++;
}

void glas_log_close(glas_core *core)
{
    while (core->log.entries != NULL && core->log.first < core->log.next) drop_oldest(core);
    glas_heap_resize(&core->heap, core->log.entries, core->log.capacity * sizeof(glas_own_entry), 0);
    glas_heap_resize(&core->heap, core->vector, core->vector == NULL ? 0 : core->mirrors * sizeof(uint64_t), 0);
    glas_heap_resize(&core->heap, core->run, core->run == NULL ? 0 : core->mirrors * sizeof(uint64_t), 0);
    for (uint32_t i = 0; core->peers != NULL && i < core->mirrors; i++) {
        glas_heap_resize(&core->heap, core->peers[i].causes, core->peers[i].causes == NULL ? 0 : core->mirrors * sizeof(uint64_t), 0);
        glas_session_prune(core, i, UINT64_MAX);
        glas_heap_resize(&core->heap, core->peers[i].done, core->peers[i].done_capacity * sizeof(glas_session), 0);
    }
}

void glas_put_causes(const glas_core *core, glas_writer *writer, const uint64_t *growth)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < core->mirrors; i++) count += growth[i] != 0;
    glas_put_uint(writer, count);
    for (uint32_t i = 0; i < core->mirrors; i++) {
        if (growth[i] == 0) continue;
        glas_put_uint(writer, i);
        glas_put_uint(writer, growth[i]);
    }
}

void glas_log_put_causes(const glas_core *core, glas_writer *writer)
{
    if (!core->applied_since) {
        glas_put_uint(writer, 0);
        return;
    }
    for (uint32_t i = 0; i < core->mirrors; i++)
        core->vector[i] = i == core->self ? 0 : core->peers[i].applied - core->peers[core->self].causes[i];
    glas_put_causes(core, writer, core->vector);
}

bool glas_take_causes(const glas_core *core, glas_reader *reader, uint64_t count, uint64_t *vector)
{
    if (count > core->mirrors) return glas_take_bad(reader);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t mirror, growth;
        if (!glas_take_uint(reader, core->mirrors - 1, &mirror) || !glas_take_uint(reader, UINT64_MAX / 2, &growth)) return false;
        if (vector[mirror] > UINT64_MAX / 2) return glas_take_bad(reader);
        vector[mirror] += growth;
    }
    return true;
}

bool glas_vector_applied(const glas_core *core, const uint64_t *vector, uint32_t from)
{
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != from && vector[i] > glas_frontier(core, i)) return false;
    return true;
}

bool glas_take_vector(const glas_core *core, glas_reader *reader, uint64_t *last)
{
    uint64_t count;
    return glas_take_uint(reader, core->mirrors, &count) && glas_take_causes(core, reader, count, last);
}

glas_own_entry *glas_log_entry(const glas_own_log *log, uint64_t number)
{
    GLAS_ASSERT(number >= log->first && number < log->next);
    return &log->entries[number & (log->capacity - 1)];
}

uint64_t glas_log_end_of(const glas_own_log *log, uint64_t number)
{
    return number < log->first ? log->cut : glas_log_entry(log, number)->end;
}

bool glas_log_has_room(const glas_core *core, size_t n) { return core->log.end - core->log.cut + n <= core->config.max_log; }

/* The ring holds a power of two of entries, so that entry numbers find their place without wrapping. */
static bool grow(glas_core *core)
{
    glas_own_log *log = &core->log;
    if (log->next - log->first < log->capacity) return true;
    uint32_t capacity = log->capacity == 0 ? 64 : log->capacity * 2;
    if (capacity > UINT32_C(1) << 28) return false;
    glas_own_entry *entries = glas_heap_resize(&core->heap, NULL, 0, capacity * sizeof *entries);
    if (entries == NULL) return false;
    for (uint64_t i = log->first; i < log->next; i++) entries[i & (capacity - 1)] = *glas_log_entry(log, i);
    glas_heap_resize(&core->heap, log->entries, log->capacity * sizeof *entries, 0);
    log->entries = entries;
    log->capacity = capacity;
    return true;
}

/* Nobody but this mirror ever needs the log of a lone mirror: it is only counted. */
static bool is_needed(const glas_core *core) { return core->mirrors > 1; }

bool glas_log_append(glas_core *core, const uint8_t *bytes, size_t n, size_t causes_n, int64_t time, bool nothing)
{
    glas_own_log *log = &core->log;
    size_t kept = nothing ? causes_n : n;
    if (!is_needed(core)) {
        log->first = ++log->next;
        log->last_time = time;
        return true;
    }
    if (!grow(core)) return false;
    uint8_t *copy = glas_heap_resize(&core->heap, NULL, 0, kept);
    if (copy == NULL && kept != 0) return false;
    if (kept != 0) memcpy(copy, bytes, kept);
    log->end += kept;
    log->next++;
    *glas_log_entry(log, log->next - 1) = (glas_own_entry){.bytes = copy, .n = (uint32_t)kept, .time = time, .end = log->end, .nothing = nothing};
    log->last_time = time;
    return true;
}

void glas_log_unappend(glas_core *core)
{
    glas_own_log *log = &core->log;
    if (!is_needed(core)) {
        log->first = --log->next;
        return;
    }
    glas_own_entry *entry = glas_log_entry(log, log->next - 1);
    log->end -= entry->n;
    glas_heap_resize(&core->heap, entry->bytes, entry->n, 0);
    log->next--;
}

/* Semantics 4: the log is cut where every mirror has applied it. */
void glas_log_acked(glas_core *core, uint32_t peer, uint64_t number)
{
    if (number <= core->peers[peer].acked) return;
    core->peers[peer].acked = number;
    uint64_t all = UINT64_MAX;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != core->self && core->peers[i].acked < all) all = core->peers[i].acked;
    bool cut = false;
    for (; core->log.first < core->log.next && core->log.first <= all; cut = true) drop_oldest(core);
    if (!cut || !core->log_was_full) return;
    core->log_was_full = false;
    glas_wake_all(core);
}
