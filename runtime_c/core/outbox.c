/* What waits for glas_poll besides journal, snapshot and link bytes: replies, log lines, trace lines, links to close.
 *
 * Bounded: log and trace lines beyond so many are dropped. The end of a call is told even where memory is short: there is room for it
 * from when the call is kept on, and a message that finds none is replaced by a constant one.
 */
#include "core.h"

#define LINES 4096u /* log and trace lines that may wait */

bool glas_out_waiting(const glas_core *core) { return core->out_next < core->out_count; }

/* Once all has been given out, the bytes can go; called when a step begins. */
void glas_out_settle(glas_core *core)
{
    if (core->out_count == 0 || core->out_next < core->out_count) return;
    glas_out_release(core);
    core->out_count = core->out_next = 0;
    core->out_bytes.n = 0;
    core->out_bytes.failed = false;
}

void glas_out_release(glas_core *core)
{
    for (uint32_t i = 0; i < core->out_count; i++) {
        glas_outgoing *out = &core->outbox[i];
        if (out->result == NULL) continue;
        if (!out->result_type->plain) out->result_type->drop(&core->heap, out->result);
        glas_heap_resize(&core->heap, out->result, out->result_type->size, 0);
        out->result = NULL;
    }
}

bool glas_out_has_room(const glas_core *core) { return core->out_count - core->out_next < LINES; }

/* Room for the ends of so many calls that are kept, and of one that is not: they are told even where memory is short. */
bool glas_out_reserve(glas_core *core, uint32_t calls)
{
    return glas_heap_reserve(&core->heap, &core->outbox, &core->out_capacity, (uint64_t)core->out_count + calls + 1, sizeof *core->outbox);
}

/* What is no reply leaves the room that is kept for replies. */
static glas_outgoing *add(glas_core *core, int32_t kind)
{
    uint64_t need = (uint64_t)core->out_count + 1 + (kind == GLAS_OUT_REPLY ? 0 : (uint64_t)core->calls_kept + 1);
    if (!glas_heap_reserve(&core->heap, &core->outbox, &core->out_capacity, need, sizeof *core->outbox)) return NULL;
    glas_outgoing *out = &core->outbox[core->out_count++];
    *out = (glas_outgoing){.kind = kind, .barrier = core->journal_end, .at = core->out_bytes.n};
    return out;
}

/* Appends bytes whole or, where memory ran out, not at all. */
static size_t add_bytes(glas_core *core, const char *p, size_t n)
{
    size_t before = core->out_bytes.n;
    glas_put_bytes(&core->out_bytes, p, n);
    core->out_bytes.failed = false;
    return core->out_bytes.n - before;
}

static void add_line(glas_core *core, int32_t kind, int32_t level, uint32_t link, const glas_text *parts, size_t count)
{
    if (!glas_out_has_room(core)) return;
    glas_outgoing *out = add(core, kind);
    if (out == NULL) return;
    out->level = level;
    out->link = link;
    for (size_t i = 0; i < count; i++) out->n += add_bytes(core, parts[i].p, parts[i].n);
}

void glas_out_log(glas_core *core, int32_t level, const glas_text *parts, size_t count) { add_line(core, GLAS_OUT_LOG, level, 0, parts, count); }

void glas_out_trace(glas_core *core, const glas_text *parts, size_t count)
{
    if (core->config.trace) add_line(core, GLAS_OUT_TRACE, 0, 0, parts, count);
}

/* A close is never dropped for want of room: there are no more of them than links. */
void glas_out_close_link(glas_core *core, uint32_t number, glas_text reason)
{
    glas_outgoing *out = add(core, GLAS_OUT_LINK_CLOSE);
    if (out == NULL) return;
    out->link = number;
    out->n = add_bytes(core, reason.p, reason.n);
}

void glas_out_bye(glas_core *core, uint32_t number, const uint8_t *frame, size_t n)
{
    glas_outgoing *out = add(core, GLAS_OUT_LINK_BYTES);
    if (out == NULL) return;
    out->link = number;
    out->barrier = 0;
    out->n = add_bytes(core, (const char *)frame, n);
}

static void add_result(glas_core *core, glas_outgoing *out, const glas_type *type, const void *result)
{
    out->result = glas_heap_resize(&core->heap, NULL, 0, type->size);
    if (out->result == NULL) return;
    out->result_type = type;
    if (type->plain) memcpy(out->result, result, type->size);
    else if (!type->copy(&core->heap, out->result, result)) out->result = glas_heap_resize(&core->heap, out->result, type->size, 0);
}

void glas_out_reply(glas_core *core, const glas_reply *reply, const glas_type *result_type)
{
    glas_outgoing *out = add(core, GLAS_OUT_REPLY);
    if (out == NULL) return; /* only where several calls that were not kept ended at once */
    out->has_reply = true;
    out->reply = *reply;
    out->barrier = reply->barrier;
    out->n = add_bytes(core, reply->body.p, reply->body.n);
    out->message_n = add_bytes(core, reply->message.p, reply->message.n);
    out->type_n = add_bytes(core, reply->content_type.p, reply->content_type.n);
    if (reply->result != NULL && result_type != NULL) add_result(core, out, result_type, reply->result);
    bool whole = out->n == reply->body.n && out->message_n == reply->message.n && out->type_n == reply->content_type.n;
    if (whole && (reply->result == NULL || result_type == NULL || out->result != NULL)) return;
    out->lost = true;
    out->n = out->message_n = out->type_n = 0;
    if (reply->outcome != GLAS_COMMITTED) return; /* only the words are lost */
    out->reply.outcome = GLAS_UNKNOWN; /* it did happen, but what came of it is lost: unknown is said */
    out->reply.status = 504;
}
