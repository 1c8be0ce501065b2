/* What a link is made of, below what is said on it: frames, and how it ends. */
#include "core.h"

glas_link *glas_link_of(const glas_core *core, uint32_t peer)
{
    uint32_t link = core->peers[peer].link;
    return link == GLAS_NO_MIRROR ? NULL : &core->links[link];
}

void glas_link_release(glas_core *core, glas_link *link)
{
    size_t vector = core->mirrors * sizeof(uint64_t);
    if (link->peer != GLAS_NO_MIRROR && link->greeted) core->peers[link->peer].link = GLAS_NO_MIRROR;
    if (link->answers_full) core->calls_awake = true, core->wake_at = core->clock; /* they need not wait for it any more */
    glas_heap_resize(&core->heap, link->in, link->in_capacity, 0);
    glas_heap_resize(&core->heap, link->in_vector, link->in_vector == NULL ? 0 : vector, 0);
    glas_heap_resize(&core->heap, link->out_vector, link->out_vector == NULL ? 0 : vector, 0);
    glas_writer_close(&link->out);
    glas_writer_close(&link->later);
    memset(link, 0, sizeof *link);
    while (core->link_count > 0 && !core->links[core->link_count - 1].used) core->link_count--;
}

glas_text glas_link_name(const glas_core *core, const glas_link *link) { return link->peer == GLAS_NO_MIRROR ? GLAS_T("a stranger") : core->peers[link->peer].name; }

void glas_link_close(glas_core *core, glas_link *link, glas_text reason)
{
    glas_text parts[] = {GLAS_T("link to "), glas_link_name(core, link), GLAS_T(" closed: "), reason};
    glas_out_log(core, GLAS_LOG_WARNING, parts, 4);
    glas_out_close_link(core, link->number, reason);
    glas_link_release(core, link);
}

size_t glas_frame_begin(glas_writer *writer, uint8_t kind)
{
    static const uint8_t head[FRAME_HEAD];
    size_t begin = writer->n;
    glas_put_bytes(writer, head, FRAME_HEAD);
    glas_put_byte(writer, kind);
    return begin;
}

/* Where memory or the link's bound ran out, the stream would have a hole: the link is closed, and the next one starts anew. */
void glas_frame_end(glas_core *core, glas_link *link, glas_writer *writer, size_t begin)
{
    if (writer->failed) {
        glas_link_close(core, link, GLAS_T("more waits to be sent than memory or max_link_buffer allows"));
        return;
    }
    size_t n = writer->n - begin - FRAME_HEAD;
    for (unsigned i = 0; i < FRAME_HEAD; i++) writer->p[begin + i] = (uint8_t)(n >> (8 * i));
}

/* Tells the other end why, and closes. */
void glas_link_refuse(glas_core *core, glas_link *link, const glas_text *parts, size_t count)
{
    uint8_t frame[FRAME_HEAD + 1 + 2 + 400];
    char line[400];
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < parts[i].n && n < sizeof line; k++) line[n++] = parts[i].p[k];
    size_t length = n + 3;
    for (unsigned i = 0; i < FRAME_HEAD; i++) frame[i] = (uint8_t)(length >> (8 * i));
    frame[FRAME_HEAD] = FRAME_BYE;
    frame[FRAME_HEAD + 1] = (uint8_t)(n & 0xFF);
    frame[FRAME_HEAD + 2] = (uint8_t)(n >> 8);
    memcpy(frame + FRAME_HEAD + 3, line, n);
    glas_out_bye(core, link->number, frame, FRAME_HEAD + length);
    glas_link_close(core, link, (glas_text){line, (uint32_t)n});
}
