/* Calls carried out by another mirror: requests, replies, repeats. A call takes effect once however often it is sent.
 *
 * A request is kept until its reply comes or its time is over, and sent again on every new link to that mirror. The carrier keeps what a
 * committed one came to until the sender says that it has it: by a DONE, or by naming all calls that are still open. Requests and replies
 * carry the sender's frontier, and are taken only when that much is applied here (docs/consistency.md 3).
 *
 * Nothing is written to a link at once: the pump takes from what waits as much as the link has room for, and goes on when a pong says
 * that it has arrived. So no number of waiting calls overflows a link.
 */
#include "core.h"

#define MESSAGE_MOST 1000u
#define BATCH 64u           /* calls looked for at a time */
#define ALL_NAMED UINT32_MAX /* glas_link.open_at: nothing to be named */

static bool is_http(const glas_core *core, const glas_call *call) { return core->app->methods[call->method].kind == GLAS_HTTP_METHOD; }

/* Do the arguments fit in a link's buffer? Otherwise each link to the carrier would break over them. */
bool glas_may_ship(glas_core *core, const glas_call *call)
{
    glas_writer *writer = &core->scratch;
    writer->n = 0;
    writer->failed = false;
    writer->base_time = INT64_MIN / 2; /* as far as can be: it may be sent much later, and a Time then takes more bytes */
    core->app->methods[call->method].args->put(writer, call->args);
    return !writer->failed && glas_fits(core, writer->n + (is_http(core, call) ? call->body.n : 0));
}

/* May one more request, or answer, be written? A whole one then fits in what is left. */
static bool has_room(const glas_core *core, const glas_link *link)
{
    size_t most = core->config.max_link_buffer;
    return link->used && link->out.n < most / 2 && link->unheard < most / 4;
}

/* Have all own entries been sent there? Only then does a request or an answer stand where it is in causal order: its frontier may
 * count an entry of a third mirror whose cause is an own entry, and what is behind the message would wait for that entry, which waits
 * for what is behind the message (docs/consistency.md 3). */
static bool has_sent_all(const glas_core *core, const glas_link *link) { return link->sent + 1 >= core->log.next; }

/* This mirror's frontier, of its own entries those sent there, as growth since what was said before. */
static void put_frontier(glas_core *core, glas_link *link)
{
    for (uint32_t i = 0; i < core->mirrors; i++) {
        uint64_t now = i == core->self ? link->sent : glas_frontier(core, i);
        core->vector[i] = now - link->out_vector[i];
        link->out_vector[i] = now;
    }
    glas_put_causes(core, &link->out, core->vector);
}

static void end_frame(glas_core *core, glas_link *link, size_t begin)
{
    link->unheard += link->out.n - begin;
    glas_frame_end(core, link, &link->out, begin);
}

static void put_request(glas_core *core, glas_link *link, const glas_call *call, uint64_t lowest)
{
    glas_writer *out = &link->out;
    size_t begin = glas_frame_begin(out, FRAME_REQUEST);
    int64_t left = call->deadline - core->clock; /* at most twice GLAS_TIME_MOST, which the other end accepts */
    glas_put_uint(out, call->number);
    glas_put_uint(out, lowest);
    glas_put_int(out, core->now);
    put_frontier(core, link);
    glas_put_uint(out, left < 0 ? 0 : (uint64_t)left);
    glas_put_uint(out, call->method);
    out->base_time = core->now;
    core->app->methods[call->method].args->put(out, call->args);
    if (is_http(core, call)) {
        glas_put_uint(out, call->body.n);
        glas_put_bytes(out, call->body.p, call->body.n);
    }
    end_frame(core, link, begin);
}

/* The oldest of the calls to be sent there, in order; *lowest: of all numbers that this mirror waits for there. */
static uint32_t find_unsent(glas_core *core, uint32_t to, glas_call **batch, uint64_t *lowest)
{
    uint32_t n = 0;
    *lowest = UINT64_MAX;
    for (uint32_t i = 0; i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        if (!call->used || !call->shipped || call->to != to) continue;
        if (call->number < *lowest) *lowest = call->number;
        if (!call->unsent || (n == BATCH && batch[n - 1]->number < call->number)) continue;
        uint32_t at = n < BATCH ? n++ : n - 1;
        for (; at > 0 && batch[at - 1]->number > call->number; at--) batch[at] = batch[at - 1];
        batch[at] = call;
    }
    return n;
}

static void put_requests(glas_core *core, glas_link *link)
{
    while (link->unsent > 0 && has_room(core, link)) {
        glas_call *batch[BATCH];
        uint64_t lowest;
        uint32_t n = find_unsent(core, link->peer, batch, &lowest);
        if (n == 0) link->unsent = 0; /* the others have ended meanwhile */
        for (uint32_t i = 0; i < n && has_room(core, link); i++) {
            if (!has_sent_all(core, link)) return;
            batch[i]->unsent = false;
            link->unsent--;
            put_request(core, link, batch[i], lowest);
        }
    }
}

/* Names the calls that this mirror waits for there: all others that it has ever sent are over, and their answers can be forgotten. */
static void put_open(glas_core *core, glas_link *link)
{
    while (link->open_at != ALL_NAMED && has_room(core, link)) {
        uint64_t numbers[BATCH];
        uint32_t n = 0;
        for (; link->open_at < core->call_count && n < BATCH; link->open_at++) {
            const glas_call *call = &core->calls[link->open_at];
            if (call->used && call->shipped && call->to == link->peer) numbers[n++] = call->number;
        }
        if (link->open_at == core->call_count) link->open_at = ALL_NAMED;
        size_t begin = glas_frame_begin(&link->out, FRAME_OPEN);
        glas_put_uint(&link->out, link->open_at == ALL_NAMED ? link->open_most : 0);
        for (uint32_t i = 0; i < n; i++) glas_put_uint(&link->out, numbers[i]);
        end_frame(core, link, begin);
    }
}

static void name_open(glas_core *core, glas_link *link)
{
    link->open_at = core->call_serial == 0 ? ALL_NAMED : 0;
    link->open_most = core->call_serial;
    core->pump_due = true;
}

static void trace_ship(glas_core *core, const glas_call *call)
{
    char number[20];
    if (!core->config.trace) return;
    glas_text parts[] = {GLAS_T("ship "), glas_cstring(core->app->methods[call->method].title), GLAS_T(" to "), core->peers[call->to].name, GLAS_T(" as "),
                         {number, (uint32_t)glas_int_format((int64_t)call->number, number)}};
    glas_out_trace(core, parts, 6);
}

bool glas_ship(glas_core *core, glas_call *call, uint32_t to)
{
    if (glas_link_of(core, to) == NULL) return false;
    call->shipped = true;
    call->to = to;
    call->number = ++core->call_serial;
    call->unsent = true;
    core->calls_shipped++;
    trace_ship(core, call);
    glas_link_of(core, to)->unsent++;
    core->pump_due = true;
    return true;
}

void glas_ship_again(glas_core *core, glas_link *link)
{
    glas_session_none_due(core, link->peer);
    name_open(core, link);
    for (uint32_t i = 0; core->calls_shipped != 0 && i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        if (!call->used || !call->shipped || call->to != link->peer) continue;
        call->unsent = true;
        link->unsent++;
    }
}

/* ------------------------------------------------------------------ carrying out */

typedef struct request {
    uint64_t number, lowest, timeout, method;
    int64_t time;
} request;

static glas_taken take_request_head(glas_core *core, glas_link *link, glas_reader *reader, request *it)
{
    if (!glas_take_uint(reader, GLAS_CALL_MOST, &it->number) || !glas_take_uint(reader, UINT64_MAX, &it->lowest)) return GLAS_REFUSED_FRAME;
    if (!glas_take_int(reader, &it->time)) return GLAS_REFUSED_FRAME;
    memcpy(core->vector, link->in_vector, core->mirrors * sizeof *core->vector);
    if (!glas_take_vector(core, reader, core->vector)) return GLAS_REFUSED_FRAME;
    if (core->vector[core->self] > glas_frontier(core, core->self)) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    if (!glas_vector_applied(core, core->vector, core->self)) return GLAS_STALLED;
    memcpy(link->in_vector, core->vector, core->mirrors * sizeof *core->vector);
    if (!glas_take_uint(reader, 2 * GLAS_TIME_MOST, &it->timeout)) return GLAS_REFUSED_FRAME;
    if (!glas_take_uint(reader, core->app->method_count - 1, &it->method)) return GLAS_REFUSED_FRAME;
    glas_method_kind kind = core->app->methods[it->method].kind;
    return kind == GLAS_RPC_METHOD || kind == GLAS_HTTP_METHOD ? GLAS_TAKEN : (glas_take_bad(reader), GLAS_REFUSED_FRAME);
}

static bool take_request_body(glas_core *core, glas_reader *reader, glas_call *call)
{
    uint64_t n;
    const uint8_t *bytes;
    memset(core->args, 0, core->app->methods[call->method].args->size);
    if (!core->app->methods[call->method].args->take(reader, core->args)) return false;
    call->args = core->args;
    if (!is_http(core, call)) return true;
    if (!glas_take_uint(reader, core->config.max_text, &n) || !glas_take_bytes(reader, (size_t)n, &bytes)) return false;
    call->body = (glas_text){(const char *)bytes, (uint32_t)n};
    return true;
}

/* At most so much of a message goes over a link, cut between characters. */
static glas_text shortened(glas_bytes message)
{
    size_t n = message.n > MESSAGE_MOST ? MESSAGE_MOST : message.n;
    while (n < message.n && n > 0 && ((uint8_t)message.p[n] & 0xC0) == 0x80) n--;
    return (glas_text){message.p, (uint32_t)n};
}

/* `rest`: the result, or reason and message. */
static void put_reply(glas_core *core, glas_link *link, uint64_t number, uint64_t outcome, const uint8_t *rest, size_t n)
{
    size_t begin = glas_frame_begin(&link->out, FRAME_REPLY);
    glas_put_uint(&link->out, number);
    glas_put_int(&link->out, core->now);
    put_frontier(core, link);
    glas_put_uint(&link->out, outcome);
    glas_put_bytes(&link->out, rest, n);
    end_frame(core, link, begin);
}

/* Answers that wait are: number, outcome, length of the rest, the rest. */
static void queue_answer(glas_core *core, glas_link *link, uint64_t number, int32_t outcome, const glas_writer *rest)
{
    glas_writer *later = &link->later;
    if (link->later_at > later->n / 2) {
        memmove(later->p, later->p + link->later_at, later->n - link->later_at);
        later->n -= link->later_at;
        link->later_at = 0;
    }
    glas_put_uint(later, number);
    glas_put_uint(later, (uint64_t)outcome);
    glas_put_uint(later, rest->n);
    glas_put_bytes(later, rest->p, rest->n);
    core->pump_due = true;
    if (later->failed || rest->failed) glas_link_close(core, link, GLAS_T("more answers wait to be sent than memory or max_link_buffer allows"));
}

static void put_answers(glas_core *core, glas_link *link)
{
    while (has_room(core, link) && link->later_at < link->later.n) {
        glas_reader reader = glas_reader_over(link->later.p + link->later_at, link->later.n - link->later_at);
        uint64_t number, outcome, n;
        const uint8_t *rest;
        bool sound = glas_take_uint(&reader, UINT64_MAX, &number) && glas_take_uint(&reader, GLAS_ABORTED, &outcome) &&
                     glas_take_uint(&reader, SIZE_MAX, &n) && glas_take_bytes(&reader, (size_t)n, &rest);
        GLAS_ASSERT(sound);
        if (!has_sent_all(core, link)) break;
        link->later_at += reader.at;
        put_reply(core, link, number, outcome, rest, (size_t)n);
    }
    if (!link->used) return;
    if (link->later_at == link->later.n) link->later.n = link->later_at = 0;
    if (!link->answers_full || !glas_may_answer(core, link->peer)) return;
    link->answers_full = false;
    core->calls_awake = true;
    core->wake_at = core->clock;
}

/* Calls from there are carried out only while their answers have room: what waits to be sent stays bounded. */
bool glas_may_answer(glas_core *core, uint32_t peer)
{
    glas_link *link = glas_link_of(core, peer);
    if (link == NULL || link->later.n - link->later_at < core->config.max_link_buffer / 4) return true;
    link->answers_full = true;
    return false;
}

static void put_repeats(glas_core *core, glas_link *link)
{
    glas_peer *peer = &core->peers[link->peer];
    bool left = false;
    for (uint32_t i = 0; link->repeats && i < peer->done_count; i++) {
        glas_session *done = &peer->done[i];
        if (!done->due) continue;
        if (has_room(core, link) && has_sent_all(core, link)) {
            done->due = false;
            put_reply(core, link, done->number, GLAS_COMMITTED, done->result, done->n);
        } else left = true;
    }
    if (link->used) link->repeats = left;
}

void glas_ship_pump(glas_core *core, glas_link *link)
{
    put_open(core, link);
    put_answers(core, link);
    if (link->used) put_repeats(core, link);
    if (link->used) put_requests(core, link);
    if (!link->used) return;
    bool waits = link->open_at != ALL_NAMED || link->later.n != 0 || link->repeats || link->unsent != 0;
    /* What was written goes first, then there is room again: one drain of outputs takes both. */
    if (waits && link->out.n >= core->config.max_link_buffer / 2 && link->unheard < core->config.max_link_buffer / 4) core->pump_due = true;
}

void glas_send_reply(glas_core *core, const glas_call *call, const glas_reply *reply)
{
    glas_link *link = glas_link_of(core, call->started_at);
    if (link == NULL) return; /* it asks again when it is back */
    if (reply->outcome == GLAS_COMMITTED) {
        queue_answer(core, link, call->id, reply->outcome, &core->text);
        return;
    }
    core->scratch.n = 0;
    core->scratch.failed = false;
    glas_put_uint(&core->scratch, (uint64_t)reply->reason);
    glas_put_text(&core->scratch, shortened(reply->message));
    queue_answer(core, link, call->id, reply->outcome, &core->scratch);
}

static bool is_at_work(const glas_core *core, uint32_t peer, uint64_t number)
{
    for (uint32_t i = 0; i < core->call_count; i++) {
        const glas_call *call = &core->calls[i];
        if (call->used && call->form == GLAS_REMOTE && call->started_at == peer && call->id == number) return true;
    }
    return false;
}

glas_taken glas_take_request(glas_core *core, glas_link *link, glas_reader *reader)
{
    request it;
    glas_taken taken = take_request_head(core, link, reader, &it);
    if (taken != GLAS_TAKEN) return taken;
    uint32_t peer = link->peer;
    glas_call call = {.used = true, .form = GLAS_REMOTE, .method = (uint32_t)it.method, .started_at = peer, .id = it.number, .lowest = it.lowest,
                      .incarnation = core->peers[peer].incarnation, .deadline = core->clock + (int64_t)it.timeout};
    reader->base_time = it.time;
    if (!take_request_body(core, reader, &call)) return GLAS_REFUSED_FRAME;
    if (reader->at != reader->n) return glas_take_bad(reader), GLAS_REFUSED_FRAME; /* before anything is done for it */
    if (it.time > core->now) core->now = it.time;
    glas_session_prune(core, peer, it.lowest);
    glas_session *done = GLAS_PLANT == 3 ? NULL : glas_session_find(core, peer, it.number);
    if (done != NULL) {
        done->due = link->repeats = core->pump_due = true;
        return GLAS_TAKEN;
    }
    if (!is_at_work(core, peer, it.number)) glas_call_arrives(core, &call, NULL);
    return GLAS_TAKEN;
}

/* ------------------------------------------------------------------ the answer */

static glas_call *find_shipped(glas_core *core, uint32_t peer, uint64_t number)
{
    for (uint32_t i = 0; core->calls_shipped != 0 && i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        if (call->used && call->shipped && call->to == peer && call->number == number) return call;
    }
    return NULL;
}

/* Where a link is full, all that are over are told of together, once there is room. */
static void put_done(glas_core *core, glas_link *link, uint64_t number)
{
    if (link->out.n >= core->config.max_link_buffer / 2) {
        name_open(core, link);
        return;
    }
    size_t begin = glas_frame_begin(&link->out, FRAME_DONE);
    glas_put_uint(&link->out, number);
    glas_frame_end(core, link, &link->out, begin);
}

/* Numbers still open; the last such frame ends with none to come, and says up to which number others are over. */
glas_taken glas_take_open(glas_core *core, glas_link *link, glas_reader *reader)
{
    uint64_t most, number;
    if (!glas_take_uint(reader, UINT64_MAX, &most)) return GLAS_REFUSED_FRAME;
    while (reader->at < reader->n) {
        if (!glas_take_uint(reader, UINT64_MAX, &number)) return GLAS_REFUSED_FRAME;
        glas_session *done = glas_session_find(core, link->peer, number);
        if (done != NULL) done->open = true;
    }
    if (most != 0) glas_session_drop_closed(core, link->peer, most);
    return GLAS_TAKEN;
}

glas_taken glas_take_done(glas_core *core, glas_link *link, glas_reader *reader)
{
    uint64_t number;
    if (!glas_take_uint(reader, UINT64_MAX, &number)) return GLAS_REFUSED_FRAME;
    glas_session_forget(core, link->peer, number);
    return GLAS_TAKEN;
}

static glas_taken take_aborted(glas_core *core, glas_reader *reader, glas_call *call)
{
    uint64_t reason;
    glas_text message;
    glas_reply reply;
    if (!glas_take_uint(reader, GLAS_WHY_STARTING, &reason) || !glas_take_text(reader, &message)) return GLAS_REFUSED_FRAME;
    if (reason == GLAS_WHY_NONE) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    if (call == NULL) return GLAS_TAKEN;
    glas_reply_abort(core, call, (int32_t)reason, message, &reply);
    glas_call_ends(core, call, &reply);
    return GLAS_TAKEN;
}

/* The answer is consumed whole even where nobody waits for it any more; its type is then not known, so the frame's end ends it. */
static glas_taken take_committed(glas_core *core, glas_link *link, glas_reader *reader, glas_call *call, uint64_t number)
{
    glas_reply reply;
    if (call == NULL) reader->at = reader->n;
    else {
        const glas_type *type = core->app->methods[call->method].result;
        int64_t time;
        if (!glas_take_int(reader, &time)) return GLAS_REFUSED_FRAME;
        reader->base_time = time;
        glas_txn_begin(core, NULL, core->self);
        memset(core->result, 0, type->size);
        if (!type->take(reader, core->result)) return GLAS_REFUSED_FRAME;
        glas_reply_result(core, call, core->result, &reply);
        glas_call_ends(core, call, &reply);
    }
    put_done(core, link, number);
    return GLAS_TAKEN;
}

glas_taken glas_take_reply(glas_core *core, glas_link *link, glas_reader *reader)
{
    uint64_t number, outcome;
    int64_t time;
    if (!glas_take_uint(reader, UINT64_MAX, &number) || !glas_take_int(reader, &time)) return GLAS_REFUSED_FRAME;
    memcpy(core->vector, link->in_vector, core->mirrors * sizeof *core->vector);
    if (!glas_take_vector(core, reader, core->vector)) return GLAS_REFUSED_FRAME;
    if (core->vector[core->self] > glas_frontier(core, core->self)) return glas_take_bad(reader), GLAS_REFUSED_FRAME;
    if (GLAS_PLANT != 6 && !glas_vector_applied(core, core->vector, core->self)) return GLAS_STALLED;
    memcpy(link->in_vector, core->vector, core->mirrors * sizeof *core->vector);
    if (time > core->now) core->now = time;
    if (!glas_take_uint(reader, GLAS_ABORTED, &outcome)) return GLAS_REFUSED_FRAME;
    glas_call *call = find_shipped(core, link->peer, number);
    if (outcome == GLAS_ABORTED) return take_aborted(core, reader, call);
    return take_committed(core, link, reader, call, number);
}
