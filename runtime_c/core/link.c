/* Links: byte streams, entries on their way, probes. The handshake is hello.c's, shipped calls are ship.c's.
 *
 * A frame is its length (4 bytes, of what follows), its kind, its body. A stream is taken strictly in order: a frame whose causes have not
 * been applied stays where it is, and what is behind it waits too. Since causality has no cycles, the streams cannot wait for each
 * other. Any bytes either decode or close the link with the offset named (ARCHITECTURE.md, the protocol).
 */
#include "core.h"

#define SEND_WINDOW (UINT64_C(4) << 20) /* bytes of entries sent and not yet acknowledged, for one link */
#define FRAME_SOFT 65536u               /* a frame of entries is ended beyond so many bytes */
#define HELLO_MOST 16384u /* bytes of a HELLO at most, of a roster of 1000 mirrors too: a stranger can pin no more */

bool glas_links_open(glas_core *core)
{
    core->link_capacity = core->mirrors + GLAS_MAX_LINKS_EXTRA;
    core->links = glas_heap_resize(&core->heap, NULL, 0, core->link_capacity * sizeof *core->links);
    if (core->links != NULL) memset(core->links, 0, core->link_capacity * sizeof *core->links);
    return core->links != NULL;
}

void glas_links_close(glas_core *core)
{
    for (uint32_t i = core->link_count; i > 0; i--)
        if (core->links[i - 1].used) glas_link_release(core, &core->links[i - 1]);
    glas_heap_resize(&core->heap, core->links, core->link_capacity * sizeof *core->links, 0);
}

static glas_link *find(glas_core *core, uint32_t number)
{
    for (uint32_t i = 0; i < core->link_count; i++)
        if (core->links[i].used && core->links[i].number == number) return &core->links[i];
    return NULL;
}

/* ------------------------------------------------------------------ coming and going */

static glas_link *free_link(glas_core *core)
{
    for (uint32_t i = 0; i < core->link_count; i++)
        if (!core->links[i].used) return &core->links[i];
    return core->link_count < core->link_capacity ? &core->links[core->link_count++] : NULL;
}

static bool open_link(glas_core *core, glas_link *link, uint32_t number)
{
    size_t vector = core->mirrors * sizeof(uint64_t);
    *link = (glas_link){.used = true, .number = number, .peer = GLAS_NO_MIRROR, .heard = core->clock, .since = core->clock, .probed = core->clock, .pong_due = INT64_MIN,
                        .out = {.heap = &core->heap, .most = core->config.max_link_buffer},
                        .later = {.heap = &core->heap, .most = core->config.max_link_buffer}};
    link->in_vector = glas_heap_resize(&core->heap, NULL, 0, vector);
    link->out_vector = glas_heap_resize(&core->heap, NULL, 0, vector);
    if (link->in_vector == NULL || link->out_vector == NULL) return false;
    memset(link->in_vector, 0, vector);
    memset(link->out_vector, 0, vector);
    return true;
}

static uint32_t mirror_named(const glas_core *core, glas_bytes name)
{
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (glas_text_equal(core->peers[i].name, (glas_text){name.p, (uint32_t)name.n})) return i;
    return GLAS_NO_MIRROR;
}

void glas_link_up(glas_core *core, uint32_t number, glas_bytes name)
{
    glas_link *link = find(core, number) != NULL ? NULL : free_link(core);
    if (link == NULL || !open_link(core, link, number)) {
        if (link != NULL) glas_link_release(core, link);
        glas_out_close_link(core, number, GLAS_T("no room for another link"));
        return;
    }
    if (name.n == 0) return; /* dialled by the other end, which speaks first */
    link->peer = mirror_named(core, name);
    if (link->peer == GLAS_NO_MIRROR || link->peer == core->self) {
        link->peer = GLAS_NO_MIRROR;
        glas_link_close(core, link, GLAS_T("the roster has no other mirror of that name"));
        return;
    }
    glas_replace_link(core, link->peer);
    glas_put_hello(core, link);
}

void glas_link_down(glas_core *core, uint32_t number)
{
    glas_link *link = find(core, number);
    if (link == NULL) return;
    if (link->greeted) glas_out_log(core, GLAS_LOG_INFO, (glas_text[]){GLAS_T("cut off from "), glas_link_name(core, link)}, 2);
    glas_link_release(core, link);
}

/* ------------------------------------------------------------------ entries, sending */

/* Pairs of a growth behind their count, which the caller has put as part of the item's head. */
static void put_pairs(const glas_core *core, glas_writer *writer, const uint64_t *growth)
{
    for (uint32_t i = 0; i < core->mirrors; i++) {
        if (growth[i] == 0) continue;
        glas_put_uint(writer, i);
        glas_put_uint(writer, growth[i]);
    }
}

static void put_item(glas_core *core, glas_link *link, uint64_t skipped, int64_t time, const uint64_t *growth)
{
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < core->mirrors; i++) pairs += growth[i] != 0;
    glas_put_uint(&link->out, pairs << 1 | (skipped != 0));
    if (skipped != 0) glas_put_uint(&link->out, skipped);
    glas_put_int(&link->out, (int64_t)((uint64_t)time - (uint64_t)link->sent_time));
    put_pairs(core, &link->out, growth);
    if (skipped == 0) glas_put_bytes(&link->out, core->scratch.p, core->scratch.n);
    link->sent_time = time;
}

/* Leaves the entry's causes in core->vector and what the receiver needs of it in core->scratch; *any: is there any. False: no memory. */
static bool prepare_entry(glas_core *core, const glas_link *link, const glas_own_entry *entry, bool *any)
{
    glas_reader reader = glas_reader_over(entry->bytes, entry->n);
    *any = false;
    memset(core->vector, 0, core->mirrors * sizeof *core->vector);
    if (entry->n == 0) return true; /* a run */
    bool sound = glas_take_vector(core, &reader, core->vector);
    GLAS_ASSERT(sound);
    core->scratch.n = 0;
    core->scratch.failed = false;
    sound = glas_entry_filter(core, &reader, &core->scratch, (glas_filter){.to = link->peer, .from = core->self}, any);
    GLAS_ASSERT(sound || !reader.bad);
    return sound && !core->scratch.failed;
}

static bool may_send(const glas_core *core, const glas_link *link)
{
    if (!link->used || !link->greeted || link->sent + 1 >= core->log.next) return false;
    /* The other end keeps in its buffer what waits for its causes. */
    uint64_t window = core->config.max_link_buffer / 2 < SEND_WINDOW ? core->config.max_link_buffer / 2 : SEND_WINDOW;
    uint64_t ahead = glas_log_end_of(&core->log, link->sent) - glas_log_end_of(&core->log, core->peers[link->peer].acked);
    return ahead < window && link->out.n < core->config.max_link_buffer / 2;
}

static bool has_causes(const glas_core *core)
{
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (core->vector[i] != 0) return true;
    return false;
}

/* Entries without a part for the receiver, folded (ARCHITECTURE.md, the protocol). */
typedef struct run {
    uint64_t count;
    int64_t time;
} run;

static void end_run(glas_core *core, glas_link *link, run *open)
{
    if (open->count != 0) put_item(core, link, open->count, open->time, core->run);
    *open = (run){0};
}

/* Only the first entry of a run may have causes: a run that gathered those of later entries could wait for what waits for it. */
static void fold(glas_core *core, glas_link *link, run *open, uint64_t count, int64_t time)
{
    if (open->count != 0 && has_causes(core)) end_run(core, link, open);
    if (open->count == 0) memcpy(core->run, core->vector, core->mirrors * sizeof *core->run);
    open->count += count;
    open->time = time;
}

/* A frame of entries: each whole, or folded into a run. */
static void put_entries(glas_core *core, glas_link *link)
{
    size_t begin = glas_frame_begin(&link->out, FRAME_ENTRIES);
    run open = {0};
    bool memory = true;
    while (may_send(core, link) && link->out.n - begin < FRAME_SOFT) {
        const glas_own_entry *entry = glas_log_entry(&core->log, link->sent + 1);
        bool any;
        memory = prepare_entry(core, link, entry, &any);
        if (!memory) break;
        if (any) {
            end_run(core, link, &open);
            put_item(core, link, 0, entry->time, core->vector);
        } else fold(core, link, &open, entry->last - link->sent, entry->time);
        link->sent = entry->last;
    }
    end_run(core, link, &open);
    glas_frame_end(core, link, &link->out, begin);
    if (!memory && link->used) glas_link_close(core, link, GLAS_T("out of memory while sending entries"));
}

/* ------------------------------------------------------------------ entries, receiving */

typedef struct incoming {
    bool skip;
    uint64_t count;
    int64_t time;
    size_t effects_at;
} incoming;

/* Reads an item's head; core->vector becomes the causes of the last entry that it stands for. */
static glas_taken take_item_head(glas_core *core, glas_link *link, glas_reader *reader, incoming *it)
{
    uint64_t head;
    int64_t step;
    it->count = 1;
    if (!glas_take_uint(reader, (uint64_t)core->mirrors << 1 | 1, &head)) return GLAS_REFUSED_FRAME;
    it->skip = head & 1;
    if (it->skip && !glas_take_uint(reader, UINT64_MAX / 2, &it->count)) return GLAS_REFUSED_FRAME;
    if (it->count == 0 || it->count > UINT64_MAX / 2 - core->peers[link->peer].applied) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    if (!glas_take_int(reader, &step)) return GLAS_REFUSED_FRAME;
    it->time = (int64_t)((uint64_t)link->in_time + (uint64_t)step);
    memcpy(core->vector, core->peers[link->peer].causes, core->mirrors * sizeof *core->vector);
    if (!glas_take_causes(core, reader, head >> 1, core->vector)) return GLAS_REFUSED_FRAME;
    it->effects_at = reader->at;
    /* A cause in this mirror's own log that this mirror has not written is a lie. */
    if (core->vector[core->self] > glas_frontier(core, core->self)) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    return GLAS_PLANT == 2 || glas_vector_applied(core, core->vector, link->peer) ? GLAS_TAKEN : GLAS_STALLED;
}

static void trace_apply(glas_core *core, uint32_t peer, const incoming *it)
{
    char number[20], count[20];
    if (!core->config.trace) return;
    glas_text parts[] = {it->skip ? GLAS_T("pass ") : GLAS_T("apply "), core->peers[peer].name, GLAS_T(" "),
                         {number, (uint32_t)glas_int_format((int64_t)core->peers[peer].applied, number)}, GLAS_T(" ("),
                         {count, (uint32_t)glas_int_format((int64_t)it->count, count)}, GLAS_T(")")};
    glas_out_trace(core, parts, 7);
}

static void applied(glas_core *core, glas_link *link, const incoming *it)
{
    glas_peer *peer = &core->peers[link->peer];
    memcpy(peer->causes, core->vector, core->mirrors * sizeof *core->vector);
    peer->applied += it->count;
    peer->last_time = link->in_time = it->time;
    if (it->time > core->now) core->now = it->time;
    core->applied_since = true;
    core->pump_due = true;
    trace_apply(core, link->peer, it);
    glas_note_started(core);
}

static void growth_of_causes(glas_core *core, const glas_link *link)
{
    for (uint32_t i = 0; i < core->mirrors; i++) core->run[i] = core->vector[i] - core->peers[link->peer].causes[i];
}

/* Applies one entry as a transaction of its own: all of its effects become visible together (docs/consistency.md 2), or none. */
static glas_applied apply_entry(glas_core *core, glas_link *link, glas_reader *reader, const incoming *it)
{
    bool needed;
    glas_txn_begin(core, NULL, link->peer);
    reader->base_time = it->time;
    glas_applied result = glas_entry_apply(core, reader, link->peer, &needed);
    if (GLAS_PLANT == 1 && result == GLAS_APPLIED) {
        glas_reader again = *reader;
        again.at = it->effects_at;
        result = glas_entry_apply(core, &again, link->peer, &needed);
    }
    if (result == GLAS_APPLIED) {
        core->scratch.n = 0;
        core->scratch.failed = false;
        growth_of_causes(core, link);
        glas_put_causes(core, &core->scratch, core->run);
        glas_put_bytes(&core->scratch, reader->p + it->effects_at, reader->at - it->effects_at);
        bool kept = !core->scratch.failed && glas_journal_apply(core, link->peer, it->time, core->scratch.p, core->scratch.n);
        if (!kept) result = GLAS_APPLY_NO_MEMORY;
    }
    if (result != GLAS_APPLIED) {
        glas_txn_abort(core);
        return result;
    }
    glas_changed(core);
    glas_txn_finish(core);
    return GLAS_APPLIED;
}

static glas_taken no_memory(glas_core *core, glas_link *link)
{
    glas_link_close(core, link, GLAS_T("out of memory while applying entries"));
    return GLAS_TAKEN;
}

static glas_taken take_item(glas_core *core, glas_link *link, glas_reader *reader)
{
    incoming it;
    glas_taken taken = take_item_head(core, link, reader, &it);
    if (taken != GLAS_TAKEN) return taken;
    if (it.skip) {
        growth_of_causes(core, link);
        if (!glas_journal_skip(core, link->peer, it.count, core->run, it.time)) return no_memory(core, link);
    } else {
        glas_applied result = apply_entry(core, link, reader, &it);
        if (result == GLAS_APPLY_BAD) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
        if (result == GLAS_APPLY_NO_MEMORY) return no_memory(core, link);
    }
    applied(core, link, &it);
    return GLAS_TAKEN;
}

/* Takes up where it stalled: items before link->in_frame have been applied. */
static glas_taken take_entries(glas_core *core, glas_link *link, glas_reader *reader)
{
    reader->at += link->in_frame;
    size_t start = reader->at - link->in_frame;
    while (link->used && reader->at < reader->n) {
        size_t at = reader->at;
        glas_taken taken = take_item(core, link, reader);
        if (taken == GLAS_STALLED) link->in_frame = at - start;
        if (taken != GLAS_TAKEN) return taken;
    }
    return GLAS_TAKEN;
}

/* ------------------------------------------------------------------ small frames */

static glas_taken take_ack(glas_core *core, glas_link *link, glas_reader *reader)
{
    uint64_t number;
    if (!glas_take_uint(reader, link->sent, &number)) return GLAS_REFUSED_FRAME;
    glas_log_acked(core, link->peer, number);
    core->pump_due = true;
    return GLAS_TAKEN;
}

static glas_taken take_ping(glas_core *core, glas_link *link, glas_reader *reader)
{
    if (!glas_take_int(reader, &link->pong_due)) return GLAS_REFUSED_FRAME;
    core->pump_due = true;
    return GLAS_TAKEN;
}

/* All that the other end had committed when this probe left here has come before the answer: replicas here are at least so fresh. */
static glas_taken take_pong(glas_core *core, glas_link *link, glas_reader *reader)
{
    int64_t time;
    if (!glas_take_int(reader, &time)) return GLAS_REFUSED_FRAME;
    if (time < 0) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    if (link->probed_bytes != 0 && time >= link->room_probe) {
        link->unheard -= link->probed_bytes;
        link->probed_bytes = 0;
        core->pump_due = true;
    }
    /* A probe from the future left before this clock was set back: it says nothing. */
    if (time > core->clock || time <= core->peers[link->peer].fresh) return GLAS_TAKEN;
    core->peers[link->peer].fresh = GLAS_PLANT == 7 ? core->clock : time;
    glas_journal_fresh(core, link->peer);
    if (core->missed) glas_wake_all(core);
    core->missed = false;
    return GLAS_TAKEN;
}

static glas_taken take_bye(glas_core *core, glas_link *link, glas_reader *reader)
{
    const uint8_t *bytes;
    uint8_t low, high;
    if (!glas_take_byte(reader, &low) || !glas_take_byte(reader, &high)) return GLAS_REFUSED_FRAME;
    size_t n = (size_t)low | (size_t)high << 8;
    if (!glas_take_bytes(reader, n, &bytes)) return GLAS_REFUSED_FRAME;
    glas_text parts[] = {GLAS_T("refused by the other end, which says: \""), glas_is_utf8(bytes, n) ? (glas_text){(const char *)bytes, (uint32_t)n} : GLAS_T("?"), GLAS_T("\"")};
    glas_txn_begin(core, NULL, core->self);
    glas_link_close(core, link, glas_txn_text(&core->txn, parts, 3));
    return GLAS_TAKEN;
}

static glas_taken take_frame(glas_core *core, glas_link *link, uint8_t kind, glas_reader *reader)
{
    if (!link->greeted && kind != FRAME_HELLO && kind != FRAME_BYE) return GLAS_REFUSED_FRAME;
    switch (kind) {
    case FRAME_HELLO: return glas_take_hello(core, link, reader);
    case FRAME_ENTRIES: return take_entries(core, link, reader);
    case FRAME_ACK: return take_ack(core, link, reader);
    case FRAME_REQUEST: return glas_take_request(core, link, reader);
    case FRAME_REPLY: return glas_take_reply(core, link, reader);
    case FRAME_DONE: return glas_take_done(core, link, reader);
    case FRAME_PING: return take_ping(core, link, reader);
    case FRAME_PONG: return take_pong(core, link, reader);
    case FRAME_BYE: return take_bye(core, link, reader);
    case FRAME_OPEN: return glas_take_open(core, link, reader);
    default: return GLAS_REFUSED_FRAME;
    }
}

/* ------------------------------------------------------------------ the stream */

static void malformed(glas_core *core, glas_link *link, uint64_t offset)
{
    char digits[20];
    glas_text parts[] = {GLAS_T("malformed bytes at offset "), {digits, (uint32_t)glas_int_format((int64_t)offset, digits)}, GLAS_T(" of the stream")};
    glas_link_refuse(core, link, parts, 3);
}

/* Takes the frame at in_at if it is whole. False: nothing more can be taken now. */
static bool take_next(glas_core *core, glas_link *link)
{
    size_t left = link->in_n - link->in_at;
    if (left < FRAME_HEAD) return false;
    const uint8_t *p = link->in + link->in_at;
    size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (n == 0 || n > (link->greeted ? core->config.max_link_buffer : HELLO_MOST)) return malformed(core, link, link->in_offset), false;
    if (left - FRAME_HEAD < n) return false;
    uint64_t offset = link->in_offset + FRAME_HEAD;
    glas_reader reader = glas_reader_over(p + FRAME_HEAD, n);
    uint8_t kind = 0;
    glas_take_byte(&reader, &kind);
    glas_taken taken = take_frame(core, link, kind, &reader);
    if (!link->used) return false;
    link->stalled = taken == GLAS_STALLED;
    if (link->stalled) link->waits_for = glas_vector_lacks(core, core->vector, link->peer);
    if (link->stalled) return false;
    if (taken == GLAS_REFUSED_FRAME || reader.at != n) return malformed(core, link, offset + reader.at), false;
    link->in_at += FRAME_HEAD + n;
    link->in_offset += FRAME_HEAD + n;
    link->in_frame = 0;
    return true;
}

static void take_all(glas_core *core, glas_link *link)
{
    while (link->used && take_next(core, link)) continue;
    if (!link->used || link->in_at == 0) return;
    memmove(link->in, link->in + link->in_at, link->in_n - link->in_at);
    link->in_n -= link->in_at;
    link->in_at = 0;
}

static void receive(glas_core *core, glas_link *link, const char *p, size_t n)
{
    if (!glas_heap_reserve(&core->heap, &link->in, &link->in_capacity, link->in_n + n, 1)) {
        glas_link_close(core, link, GLAS_T("out of memory while receiving"));
        return;
    }
    memcpy(link->in + link->in_n, p, n);
    link->in_n += n;
    if (!link->stalled) take_all(core, link);
}

void glas_link_bytes(glas_core *core, uint32_t number, glas_bytes bytes)
{
    glas_link *link = find(core, number);
    if (link == NULL || bytes.n == 0) return;
    link->heard = core->clock;
    size_t at = 0;
    while (link->used && !link->greeted && at < bytes.n) { /* nothing is kept here but a HELLO that is not whole yet */
        size_t room = FRAME_HEAD + HELLO_MOST - link->in_n, n = bytes.n - at < room ? bytes.n - at : room;
        receive(core, link, bytes.p + at, n);
        at += n;
    }
    if (!link->used || at == bytes.n) return;
    if (bytes.n - at > 2 * core->config.max_link_buffer || link->in_n > 2 * core->config.max_link_buffer - (bytes.n - at)) {
        glas_link_close(core, link, GLAS_T("more bytes wait for their causes than max_link_buffer allows"));
        return;
    }
    receive(core, link, bytes.p + at, bytes.n - at);
}

/* Each round takes at least an item, or is the last. */
void glas_links_resume(glas_core *core)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < core->link_count; i++) {
            glas_link *link = &core->links[i];
            if (!link->used || !link->stalled) continue;
            size_t frame = link->in_frame;
            uint64_t offset = link->in_offset;
            take_all(core, link);
            moved |= !link->used || link->in_frame != frame || link->in_offset != offset;
        }
    }
}

static void pump_small(glas_core *core, glas_link *link)
{
    glas_peer *peer = &core->peers[link->peer];
    if (link->acked < peer->applied) {
        size_t begin = glas_frame_begin(&link->out, FRAME_ACK);
        glas_put_uint(&link->out, peer->applied);
        link->acked = peer->applied;
        glas_frame_end(core, link, &link->out, begin);
    }
    if (link->used && link->pong_due != INT64_MIN && (GLAS_PLANT == 8 || link->sent + 1 >= core->log.next)) {
        size_t begin = glas_frame_begin(&link->out, FRAME_PONG);
        glas_put_int(&link->out, link->pong_due);
        link->pong_due = INT64_MIN;
        glas_frame_end(core, link, &link->out, begin);
    }
}

static void put_ping(glas_core *core, glas_link *link)
{
    size_t begin = glas_frame_begin(&link->out, FRAME_PING);
    glas_put_int(&link->out, core->clock);
    if (core->clock < link->room_probe) link->room_probe = core->clock; /* the clock was set back, and this one is behind those bytes too */
    glas_frame_end(core, link, &link->out, begin);
}

/* A probe behind what was sent says when it has arrived: half of what may be under way, so that the rest can go meanwhile. */
static void probe_room(glas_core *core, glas_link *link)
{
    if (link->probed_bytes != 0 || link->unheard < core->config.max_link_buffer / 8) return;
    link->room_probe = core->clock;
    link->probed_bytes = link->unheard;
    put_ping(core, link);
}

void glas_links_pump(glas_core *core)
{
    core->pump_due = false;
    for (uint32_t i = 0; i < core->link_count; i++) {
        glas_link *link = &core->links[i];
        while (may_send(core, link)) put_entries(core, link);
        if (link->used && link->greeted) glas_ship_pump(core, link);
        if (link->used && link->greeted) probe_room(core, link);
        if (link->used && link->greeted) pump_small(core, link);
    }
}

static void probe(glas_core *core, glas_link *link, int64_t *wake)
{
    if (core->clock - link->heard > core->config.silent_us) {
        glas_link_close(core, link, GLAS_T("not a byte came for longer than silent allows"));
        return;
    }
    if (core->clock < link->since) link->since = core->clock;
    if (!link->greeted && core->clock - link->since > core->config.silent_us) {
        glas_link_close(core, link, GLAS_T("it was not introduced for longer than silent allows"));
        return;
    }
    if (link->greeted && (link->probed == INT64_MIN || core->clock - link->probed >= core->config.ping_us || core->clock < link->probed)) {
        link->probed = core->clock;
        put_ping(core, link);
    }
    if (link->used && core->clock + core->config.ping_us < *wake) *wake = core->clock + core->config.ping_us;
}

void glas_links_turn(glas_core *core, int64_t *wake)
{
    for (uint32_t i = 0; i < core->link_count; i++)
        if (core->links[i].used) probe(core, &core->links[i], wake);
}
