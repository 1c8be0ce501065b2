/* Calls carried out by another mirror: requests, replies, repeats. A call takes effect once however often it is sent.
 *
 * A request is kept until its reply comes or its time is over, and sent again on every new link to that mirror. The carrier keeps what a
 * committed one came to until the sender says that it has it. Requests and replies carry the sender's frontier, and are taken only
 * when that much is applied here (semantics 3.3).
 */
#include "core.h"

#define MESSAGE_MOST 1000u

static bool is_http(const glas_core *core, const glas_call *call) { return core->app->methods[call->method].kind == GLAS_HTTP_METHOD; }

/* Do the arguments fit in a link's buffer? Otherwise each link to the carrier would break over them. */
bool glas_may_ship(glas_core *core, const glas_call *call)
{
    glas_writer *writer = &core->scratch;
    writer->n = 0;
    writer->failed = false;
    core->app->methods[call->method].args->put(writer, call->args);
    return !writer->failed && glas_fits(core, writer->n + (is_http(core, call) ? call->body.n : 0));
}

/* The lowest number that this mirror still waits for there. */
static uint64_t lowest_for(const glas_core *core, uint32_t to)
{
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < core->call_count; i++) {
        const glas_call *call = &core->calls[i];
        if (call->used && call->shipped && call->to == to && call->number < lowest) lowest = call->number;
    }
    return lowest;
}

static void put_request(glas_core *core, glas_link *link, const glas_call *call)
{
    glas_writer *out = glas_link_ordered(core, link);
    size_t begin = glas_frame_begin(out, FRAME_REQUEST);
    int64_t left = call->deadline - core->clock; /* at most twice GLAS_TIME_MOST, which the other end accepts */
    glas_put_uint(out, call->number);
    glas_put_uint(out, lowest_for(core, link->peer));
    glas_put_int(out, core->now);
    glas_put_vector(core, out, link->out_vector);
    glas_put_uint(out, left < 0 ? 0 : (uint64_t)left);
    glas_put_uint(out, call->method);
    out->base_time = core->now;
    core->app->methods[call->method].args->put(out, call->args);
    if (is_http(core, call)) {
        glas_put_uint(out, call->body.n);
        glas_put_bytes(out, call->body.p, call->body.n);
    }
    glas_frame_end(core, link, out, begin);
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
    core->calls_shipped++;
    trace_ship(core, call);
    /* Its own entries go first, so that the carrier has applied what this mirror has done before. */
    glas_links_pump(core);
    glas_link *link = glas_link_of(core, to);
    if (link != NULL) put_request(core, link, call);
    return true;
}

void glas_ship_again(glas_core *core, glas_link *link)
{
    if (core->calls_shipped == 0) return;
    for (uint32_t i = 0; i < core->call_count && link->used; i++) {
        glas_call *call = &core->calls[i];
        if (!call->used || !call->shipped || call->to != link->peer) continue;
        put_request(core, link, call);
    }
}

/* ------------------------------------------------------------------ carrying out */

typedef struct request {
    uint64_t number, lowest, timeout, method;
    int64_t time;
} request;

static glas_taken take_request_head(glas_core *core, glas_link *link, glas_reader *reader, request *it)
{
    if (!glas_take_uint(reader, UINT64_MAX, &it->number) || !glas_take_uint(reader, UINT64_MAX, &it->lowest)) return GLAS_REFUSED_FRAME;
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

static void send_outcome(glas_core *core, glas_link *link, uint64_t number, const glas_reply *reply, const uint8_t *result, size_t n)
{
    glas_writer *out = glas_link_ordered(core, link);
    size_t begin = glas_frame_begin(out, FRAME_REPLY);
    glas_put_uint(out, number);
    glas_put_int(out, core->now);
    glas_put_vector(core, out, link->out_vector);
    glas_put_uint(out, (uint64_t)reply->outcome);
    if (reply->outcome == GLAS_COMMITTED) glas_put_bytes(out, result, n);
    else {
        glas_put_uint(out, (uint64_t)reply->reason);
        glas_put_text(out, shortened(reply->message));
    }
    glas_frame_end(core, link, out, begin);
}

void glas_send_reply(glas_core *core, const glas_call *call, const glas_reply *reply)
{
    glas_link *link;
    if (glas_link_of(core, call->started_at) == NULL) return; /* it asks again when it is back */
    glas_links_pump(core); /* entries first: the reply's frontier counts them */
    link = glas_link_of(core, call->started_at);
    if (link != NULL) send_outcome(core, link, call->id, reply, core->text.p, core->text.n);
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
    if (it.time > core->now) core->now = it.time;
    glas_session_prune(core, peer, it.lowest);
    const glas_session *done = GLAS_PLANT == 3 ? NULL : glas_session_find(core, peer, it.number);
    if (done != NULL) {
        glas_reply reply = {.outcome = GLAS_COMMITTED};
        glas_links_pump(core);
        if (link->used && link->peer == peer) send_outcome(core, link, it.number, &reply, done->result, done->n);
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

static void put_done(glas_core *core, glas_link *link, uint64_t number)
{
    size_t begin = glas_frame_begin(&link->out, FRAME_DONE);
    glas_put_uint(&link->out, number);
    glas_frame_end(core, link, &link->out, begin);
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
    if (!glas_vector_applied(core, core->vector, core->self)) return GLAS_STALLED;
    memcpy(link->in_vector, core->vector, core->mirrors * sizeof *core->vector);
    if (time > core->now) core->now = time;
    if (!glas_take_uint(reader, GLAS_ABORTED, &outcome)) return GLAS_REFUSED_FRAME;
    glas_call *call = find_shipped(core, link->peer, number);
    if (outcome == GLAS_ABORTED) return take_aborted(core, reader, call);
    return take_committed(core, link, reader, call, number);
}
