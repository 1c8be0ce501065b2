/* A core for tests of drivers: the interface of glas_core.h over the smallest app that journals and replicates.
 *
 * State: one growing total for each mirror, merged by maximum. Methods (rpc): `add {"n": N}` adds to this mirror's total, `sum` gives
 * all of them together, `never` waits for ever, `big` makes a long answer. HTTP: any path is answered with verb, path and body; `/add`
 * adds 1, `/never` waits. A frame on a link is one byte that counts the mirrors and 8 bytes for each total.
 */
#include "glas_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIRRORS 8
#define OUTPUTS 512
#define CALLS 64
#define FRAME (1 + 8 * MIRRORS)

struct glas_app {
    int unused;
};

typedef struct link {
    uint32_t number;
    int up;
    size_t got;
    unsigned char in[FRAME];
} link;

typedef struct waiting {
    uint64_t call;
    int64_t until;
} waiting;

struct glas_core {
    const glas_allocator *allocator;
    uint32_t self, count;
    int durable, trace, started;
    uint64_t position, totals[MIRRORS];
    int64_t now, told, wake;
    link links[64];
    waiting calls[CALLS];
    uint32_t call_count, first, used;
    glas_output outputs[OUTPUTS];
    char *held[OUTPUTS], *last;
    char text[512];
};

static uint64_t total(const glas_core *core)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < core->count; i++) sum += core->totals[i];
    return sum;
}

static glas_output *put(glas_core *core, int32_t kind, const void *bytes, size_t n)
{
    if (core->used == OUTPUTS) abort();
    uint32_t at = (core->first + core->used++) % OUTPUTS;
    glas_output *out = &core->outputs[at];
    memset(out, 0, sizeof *out);
    core->held[at] = n ? malloc(n) : NULL;
    if (n) memcpy(core->held[at], bytes, n);
    out->kind = kind;
    out->bytes.p = core->held[at];
    out->bytes.n = n;
    out->barrier = core->durable ? core->position : 0;
    return out;
}

static void trace(glas_core *core, const char *what, uint64_t value)
{
    char line[100];
    if (!core->trace) return;
    int n = snprintf(line, sizeof line, "%s %llu", what, (unsigned long long)value);
    put(core, GLAS_OUT_TRACE, line, (size_t)n);
}

static void frame(const glas_core *core, unsigned char *bytes)
{
    memset(bytes, 0, FRAME);
    bytes[0] = (unsigned char)core->count;
    memcpy(bytes + 1, core->totals, sizeof core->totals);
}

static void tell(glas_core *core)
{
    unsigned char bytes[FRAME];
    frame(core, bytes);
    for (int i = 0; i < 64; i++)
        if (core->links[i].up) put(core, GLAS_OUT_LINK_BYTES, bytes, FRAME)->link = core->links[i].number;
}

static void changed(glas_core *core)
{
    unsigned char bytes[FRAME];
    frame(core, bytes);
    if (core->durable) {
        core->position += FRAME;
        put(core, GLAS_OUT_JOURNAL, bytes, FRAME)->position = core->position;
    }
    trace(core, "sum", total(core));
    tell(core);
}

static int take(glas_core *core, const unsigned char *bytes)
{
    int news = 0;
    for (uint32_t i = 0; i < core->count; i++) {
        uint64_t theirs;
        memcpy(&theirs, bytes + 1 + 8 * i, 8);
        if (theirs > core->totals[i]) core->totals[i] = theirs, news = 1;
    }
    return news;
}

static link *find(glas_core *core, uint32_t number, int up)
{
    for (int i = 0; i < 64; i++)
        if (core->links[i].up == up && (!up || core->links[i].number == number)) return &core->links[i];
    return NULL;
}

static void link_bytes(glas_core *core, const glas_input *in)
{
    link *from = find(core, in->link, 1);
    int news = 0;
    if (!from) return;
    for (size_t i = 0; i < in->a.n; i++) {
        from->in[from->got++] = (unsigned char)in->a.p[i];
        if (from->in[0] != core->count) {
            from->up = 0;
            put(core, GLAS_OUT_LINK_CLOSE, "a stranger", 10)->link = in->link;
            return;
        }
        if (from->got == FRAME) from->got = 0, news |= take(core, from->in);
    }
    if (news) changed(core);
}

static void answer(glas_core *core, glas_reply *reply, int32_t status, const char *text)
{
    reply->outcome = GLAS_COMMITTED;
    reply->status = status;
    reply->barrier = core->durable ? core->position : 0;
    reply->content_type = (glas_bytes){"text/plain; charset=utf-8", 25};
    if (text != core->text) snprintf(core->text, sizeof core->text, "%s", text);
    reply->body = (glas_bytes){core->text, strlen(core->text)};
}

static void fail(glas_reply *reply, int32_t why, int32_t status, const char *text)
{
    reply->outcome = GLAS_ABORTED;
    reply->reason = why;
    reply->status = status;
    reply->message = (glas_bytes){text, strlen(text)};
}

static void wait_for(glas_core *core, const glas_input *in, glas_reply *reply)
{
    if (core->call_count == CALLS) {
        fail(reply, GLAS_WHY_BUSY, 503, "too many calls wait");
        return;
    }
    reply->outcome = GLAS_PENDING;
    core->calls[core->call_count++] = (waiting){in->call, in->now + in->timeout_us};
}

static int is(glas_bytes text, const char *name) { return text.n == strlen(name) && memcmp(text.p, name, text.n) == 0; }

static void rpc(glas_core *core, const glas_input *in, glas_reply *reply)
{
    char text[64];
    long n = 0;
    if (is(in->a, "add")) {
        snprintf(text, sizeof text, "%.*s", (int)in->b.n, in->b.p);
        if (sscanf(text, "{\"n\": %ld}", &n) != 1) {
            fail(reply, GLAS_WHY_BAD_INPUT, 400, "n is missing");
            return;
        }
        core->totals[core->self] += (uint64_t)n;
        changed(core);
        snprintf(core->text, sizeof core->text, "%llu", (unsigned long long)total(core));
        answer(core, reply, 200, core->text);
    } else if (is(in->a, "sum")) {
        snprintf(core->text, sizeof core->text, "%llu", (unsigned long long)total(core));
        answer(core, reply, 200, core->text);
    } else if (is(in->a, "never")) {
        wait_for(core, in, reply);
    } else {
        fail(reply, GLAS_WHY_NO_METHOD, 404, "no such method");
    }
}

static void http(glas_core *core, const glas_input *in, glas_reply *reply)
{
    if (is(in->b, "/never")) {
        wait_for(core, in, reply);
    } else if (is(in->b, "/add")) {
        core->totals[core->self]++;
        changed(core);
        snprintf(core->text, sizeof core->text, "%llu", (unsigned long long)total(core));
        answer(core, reply, 200, core->text);
    } else if (is(in->b, "/missing")) {
        fail(reply, GLAS_WHY_NO_METHOD, 404, "no such path");
    } else {
        snprintf(core->text, sizeof core->text, "%.*s %.*s %.*s", (int)in->a.n, in->a.p, (int)in->b.n, in->b.p,
                 (int)(in->c.n < 300 ? in->c.n : 300), in->c.p);
        answer(core, reply, 200, core->text);
    }
}

static void inspect(glas_core *core, const glas_input *in, glas_reply *reply)
{
    if (is(in->a, "status"))
        snprintf(core->text, sizeof core->text, "{\"mirror\": %u, \"position\": %llu, \"waiting\": %u, \"shipped\": 0}", core->self,
                 (unsigned long long)core->position, core->call_count);
    else if (is(in->a, "state db.total"))
        snprintf(core->text, sizeof core->text, "%llu", (unsigned long long)total(core));
    else if (is(in->a, "plan"))
        snprintf(core->text, sizeof core->text, "{}");
    else {
        fail(reply, GLAS_WHY_BAD_INPUT, 404, "no such state");
        return;
    }
    answer(core, reply, 200, core->text);
}

static void end_calls(glas_core *core, uint64_t cancelled)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < core->call_count; i++) {
        waiting call = core->calls[i];
        if (call.call == cancelled) continue;
        if (call.until > core->now) {
            core->calls[kept++] = call;
            continue;
        }
        glas_output *out = put(core, GLAS_OUT_REPLY, NULL, 0);
        fail(&out->reply, GLAS_WHY_TIMEOUT, 504, "waited too long");
        out->reply.call = call.call;
    }
    core->call_count = kept;
}

static void recover(glas_core *core, const glas_input *in, glas_reply *reply)
{
    for (size_t at = 0; at + FRAME <= in->a.n; at += FRAME) take(core, (const unsigned char *)in->a.p + at);
    if (in->a.n % FRAME != 0 || (in->a.n && in->a.p[0] != (char)core->count))
        fail(reply, GLAS_WHY_BAD_INPUT, 400, "unsound at offset 0");
    if (in->kind == GLAS_IN_JOURNAL_LOADED) core->position = in->position;
}

static void step(glas_core *core, const glas_input *in, glas_reply *reply)
{
    unsigned char bytes[FRAME];
    link *free_link;
    switch (in->kind) {
    case GLAS_IN_SNAPSHOT_LOADED: core->position = in->position; /* falls through */
    case GLAS_IN_JOURNAL_LOADED: recover(core, in, reply); break;
    case GLAS_IN_START: core->started = 1; break;
    case GLAS_IN_LINK_UP:
        free_link = find(core, 0, 0);
        if (!free_link) abort();
        *free_link = (link){.number = in->link, .up = 1};
        frame(core, bytes);
        put(core, GLAS_OUT_LINK_BYTES, bytes, FRAME)->link = in->link;
        break;
    case GLAS_IN_LINK_DOWN:
        free_link = find(core, in->link, 1);
        if (free_link) free_link->up = 0;
        break;
    case GLAS_IN_LINK_BYTES: link_bytes(core, in); break;
    case GLAS_IN_HTTP: http(core, in, reply); break;
    case GLAS_IN_RPC: rpc(core, in, reply); break;
    case GLAS_IN_INSPECT: inspect(core, in, reply); break;
    case GLAS_IN_CANCEL: end_calls(core, in->call); break;
    case GLAS_IN_SNAPSHOT:
        frame(core, bytes);
        put(core, GLAS_OUT_SNAPSHOT, bytes, FRAME)->position = core->position;
        break;
    default: break;
    }
}

int32_t glas_step(glas_core *core, const glas_input *in)
{
    glas_reply spare, *reply = in->reply ? in->reply : &spare;
    memset(reply, 0, sizeof *reply);
    reply->call = in->call;
    if (in->now > core->now) core->now = in->now;
    step(core, in, reply);
    end_calls(core, 0);
    int64_t wake = core->now + 1000000;
    for (uint32_t i = 0; i < core->call_count; i++)
        if (core->calls[i].until < wake) wake = core->calls[i].until;
    if (core->call_count && wake != core->wake) put(core, GLAS_OUT_WAKE, NULL, 0)->at = core->wake = wake;
    reply->more = core->used ? GLAS_HAS_OUTPUT : 0;
    return reply->more;
}

int32_t glas_poll(glas_core *core, glas_output *output)
{
    free(core->last);
    core->last = NULL;
    if (!core->used) return 0;
    *output = core->outputs[core->first];
    core->last = core->held[core->first];
    core->first = (core->first + 1) % OUTPUTS;
    core->used--;
    return 1;
}

glas_core *glas_open(const glas_app *app, const glas_config *config, const glas_allocator *allocator, char *error, size_t error_size)
{
    (void)app;
    if (config->mirror_count > MIRRORS || config->mirrors[config->self].name.n == 0) {
        snprintf(error, error_size, "at most %d mirrors, each with a name", MIRRORS);
        return NULL;
    }
    glas_core *core = allocator->resize(allocator->context, NULL, 0, sizeof *core);
    memset(core, 0, sizeof *core);
    core->allocator = allocator;
    core->self = config->self;
    core->count = config->mirror_count;
    core->durable = config->durable;
    core->trace = config->trace;
    return core;
}

void glas_close(glas_core *core)
{
    glas_output out;
    while (glas_poll(core, &out)) continue;
    core->allocator->resize(core->allocator->context, core, sizeof *core, 0);
}

static glas_app app;
const glas_app *glas_module_app(void) { return &app; }
