/* This mirror's own log, what is known of others' logs, and causality between them. Knows no disk and no link.
 *
 * docs/consistency.md 2: an entry is applied after its causes. An entry's causes are sent as the growth of its mirror's frontier since that
 * mirror's entry before, so both ends keep a running vector for each log.
 */
#include "core.h"

#define LEAST_RING UINT32_C(64)
#define MOST_RING (UINT32_C(1) << 28)

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

static glas_own_entry *place(const glas_own_log *log, uint32_t nth) { return &log->entries[(log->head + nth) & (log->capacity - 1)]; }

static void drop_oldest(glas_core *core)
{
    glas_own_log *log = &core->log;
    glas_own_entry *entry = place(log, 0);
    uint64_t held = glas_log_held(log);
    log->cut = entry->end;
    log->first = entry->last + 1;
    log->head++;
    log->count--;
    log->unsaved += held - glas_log_held(log);
    glas_heap_resize(&core->heap, entry->bytes, entry->n, 0);
}

void glas_log_close(glas_core *core)
{
    while (core->log.count > 0) drop_oldest(core);
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

uint32_t glas_vector_lacks(const glas_core *core, const uint64_t *vector, uint32_t from)
{
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != from && vector[i] > glas_frontier(core, i)) return i;
    return GLAS_NO_MIRROR;
}

bool glas_vector_applied(const glas_core *core, const uint64_t *vector, uint32_t from) { return glas_vector_lacks(core, vector, from) == GLAS_NO_MIRROR; }

bool glas_take_vector(const glas_core *core, glas_reader *reader, uint64_t *last)
{
    uint64_t count;
    return glas_take_uint(reader, core->mirrors, &count) && glas_take_causes(core, reader, count, last);
}

/* A run has one place, so there are never more places than entries, on either side of a number. Without runs that leaves only one place
 * to look at. */
glas_own_entry *glas_log_entry(const glas_own_log *log, uint64_t number)
{
    GLAS_ASSERT(number >= log->first && number < log->next);
    uint64_t before = number - log->first, behind = log->next - 1 - number;
    uint32_t low = behind < log->count ? log->count - 1 - (uint32_t)behind : 0;
    uint32_t high = before < log->count ? (uint32_t)before : log->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (place(log, middle)->last < number) low = middle + 1;
        else high = middle;
    }
    return place(log, low);
}

uint64_t glas_log_end_of(const glas_own_log *log, uint64_t number)
{
    return number < log->first ? log->cut : glas_log_entry(log, number)->end;
}

bool glas_log_has_room(const glas_core *core, size_t n) { return glas_log_held(&core->log) + GLAS_LOG_COST(n) <= core->config.max_log; }

/* The ring holds a power of two of entries, so that places are found without dividing. */
static bool resize_ring(glas_core *core, uint32_t capacity)
{
    glas_own_log *log = &core->log;
    glas_own_entry *entries = glas_heap_resize(&core->heap, NULL, 0, capacity * sizeof *entries);
    if (entries == NULL) return false;
    for (uint32_t i = 0; i < log->count; i++) entries[i] = *place(log, i);
    glas_heap_resize(&core->heap, log->entries, log->capacity * sizeof *entries, 0);
    log->entries = entries;
    log->capacity = capacity;
    log->head = 0;
    return true;
}

/* What a mirror that was long away made it grow to is given back; where memory does not suffice for that, some other time. */
static void shrink_ring(glas_core *core)
{
    uint32_t capacity = core->log.capacity;
    while (capacity > LEAST_RING && core->log.count < capacity / 8) capacity /= 2;
    if (capacity != core->log.capacity) resize_ring(core, capacity);
}

/* A place for what comes next, which the caller fills; NULL: out of memory. */
static glas_own_entry *next_place(glas_core *core)
{
    glas_own_log *log = &core->log;
    if (log->count == log->capacity) {
        uint32_t capacity = log->capacity == 0 ? LEAST_RING : log->capacity * 2;
        if (capacity > MOST_RING || !resize_ring(core, capacity)) return NULL;
    }
    return place(log, log->count);
}

/* Nobody but this mirror ever needs the log of a lone mirror: it is only counted. */
static bool is_needed(const glas_core *core) { return core->mirrors > 1; }

static void count_entries(glas_core *core, uint64_t count, int64_t time)
{
    core->log.next += count;
    core->log.last_time = time;
    if (!is_needed(core)) core->log.first = core->log.next;
}

bool glas_log_append(glas_core *core, const uint8_t *bytes, size_t n, int64_t time)
{
    glas_own_log *log = &core->log;
    if (is_needed(core)) {
        GLAS_ASSERT(n != 0);
        glas_own_entry *entry = next_place(core);
        uint8_t *copy = entry == NULL ? NULL : glas_heap_resize(&core->heap, NULL, 0, n);
        if (copy == NULL) return false;
        memcpy(copy, bytes, n);
        log->end += n;
        log->count++;
        *entry = (glas_own_entry){.bytes = copy, .n = (uint32_t)n, .last = log->next, .time = time, .end = log->end};
    }
    count_entries(core, 1, time);
    return true;
}

/* ARCHITECTURE.md, the protocol: nothing of it is ever sent, but how many they are. So they can be as many as they like while a mirror is away. */
bool glas_log_append_run(glas_core *core, uint64_t count, int64_t time)
{
    glas_own_log *log = &core->log;
    if (is_needed(core)) {
        bool goes_on = log->count > 0 && place(log, log->count - 1)->n == 0;
        glas_own_entry *run = goes_on ? place(log, log->count - 1) : next_place(core);
        if (run == NULL) return false;
        if (!goes_on) log->count++;
        *run = (glas_own_entry){.last = log->next + count - 1, .time = time, .end = log->end};
    }
    count_entries(core, count, time);
    return true;
}

void glas_log_unappend(glas_core *core, int64_t last_time)
{
    glas_own_log *log = &core->log;
    log->next--;
    log->last_time = last_time;
    if (!is_needed(core)) {
        log->first = log->next;
        return;
    }
    glas_own_entry *entry = place(log, log->count - 1);
    uint64_t before = log->count > 1 ? place(log, log->count - 2)->last : log->first - 1;
    log->end -= entry->n;
    glas_heap_resize(&core->heap, entry->bytes, entry->n, 0);
    if (--entry->last == before) log->count--;
    else entry->time = last_time;
}

void glas_log_cut(glas_core *core, uint64_t number)
{
    glas_own_log *log = &core->log;
    GLAS_ASSERT(number < log->next);
    uint32_t count = log->count;
    while (log->count > 0 && place(log, 0)->last <= number) drop_oldest(core);
    if (log->first <= number) log->first = number + 1; /* within a run */
    if (log->count == count) return;
    shrink_ring(core);
    if (!core->log_was_full) return;
    core->log_was_full = false;
    glas_wake_all(core);
}

uint64_t glas_log_acked_by_all(const glas_core *core)
{
    uint64_t all = core->log.next - 1;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != core->self && core->peers[i].acked < all) all = core->peers[i].acked;
    return all;
}

/* ARCHITECTURE.md, the core: the log is cut where every mirror has applied it. */
void glas_log_acked(glas_core *core, uint32_t peer, uint64_t number)
{
    if (number <= core->peers[peer].acked) return;
    core->peers[peer].acked = number;
    glas_log_cut(core, glas_log_acked_by_all(core));
}
