/* The handshake: who is at the other end, whether the two may talk, and where each goes on. One link a mirror. */
#include "core.h"

void glas_put_hello(glas_core *core, glas_link *link)
{
    size_t begin = glas_frame_begin(&link->out, FRAME_HELLO);
    glas_put_uint(&link->out, GLAS_WIRE_VERSION);
    glas_put_bytes(&link->out, core->app->protocol_id, 16);
    glas_put_text(&link->out, glas_cstring(core->app->name));
    glas_put_text(&link->out, glas_cstring(core->app->version));
    glas_put_u64(&link->out, core->cluster);
    glas_put_uint(&link->out, core->self);
    glas_put_uint(&link->out, core->incarnation);
    for (uint32_t i = 0; i < core->mirrors; i++) {
        link->out_vector[i] = glas_frontier(core, i);
        glas_put_uint(&link->out, link->out_vector[i]);
    }
    glas_frame_end(core, link, &link->out, begin);
}

/* One link a mirror: a newer one replaces the older, of which nothing more is taken. */
void glas_replace_link(glas_core *core, uint32_t peer)
{
    glas_link *older = glas_link_of(core, peer);
    if (older != NULL) glas_link_close(core, older, GLAS_T("a newer link to the same mirror takes its place"));
}

typedef struct hello {
    uint64_t version, cluster, self, incarnation;
    const uint8_t *protocol;
    glas_text name, app_version;
} hello;

static bool take_hello_head(glas_reader *reader, hello *it)
{
    return glas_take_uint(reader, UINT32_MAX, &it->version) && glas_take_bytes(reader, 16, &it->protocol) && glas_take_text(reader, &it->name) &&
           glas_take_text(reader, &it->app_version) && glas_take_u64(reader, &it->cluster) && glas_take_uint(reader, UINT32_MAX, &it->self) &&
           glas_take_uint(reader, UINT64_MAX, &it->incarnation);
}

/* A stranger, another app or another version gets a clear refusal (ARCHITECTURE.md, the protocol). Returns the number of parts of the reason, 0 for none. */
static size_t why_not(const glas_core *core, const glas_link *link, const hello *it, glas_text *parts)
{
    glas_text mine = glas_cstring(core->app->name), version = glas_cstring(core->app->version);
    if (!glas_text_equal(it->name, mine)) return parts[0] = GLAS_T("this is app "), parts[1] = mine, parts[2] = GLAS_T(", not "), parts[3] = it->name, 4;
    if (it->version != GLAS_WIRE_VERSION || memcmp(it->protocol, core->app->protocol_id, 16) != 0)
        return parts[0] = GLAS_T("another protocol: this end runs version "), parts[1] = version, parts[2] = GLAS_T(" of the app, the other "),
               parts[3] = it->app_version, parts[4] = GLAS_T(", or builds of the two differ"), 5;
    if (it->cluster != core->cluster) return parts[0] = GLAS_T("the two configurations name other mirrors, places or another origin"), 1;
    if (it->self >= core->mirrors || it->self == core->self) return parts[0] = GLAS_T("the other end says that it is this same mirror"), 1;
    if (link->peer != GLAS_NO_MIRROR && link->peer != it->self)
        return parts[0] = GLAS_T("dialled "), parts[1] = core->peers[link->peer].name, parts[2] = GLAS_T(", reached "), parts[3] = core->peers[it->self].name, 4;
    if (it->incarnation < core->peers[it->self].incarnation)
        return parts[0] = GLAS_T("an older run of mirror "), parts[1] = core->peers[it->self].name, parts[2] = GLAS_T(" than the one known here: is its store a copy?"), 3;
    return 0;
}

/* Does the vector of this peer's HELLO know less than it has said before? */
static bool knows_less(const glas_core *core, uint32_t peer, const uint64_t *vector)
{
    return vector[core->self] < core->peers[peer].acked || vector[peer] < core->peers[peer].applied;
}

/* A mirror that has told others more than it knows itself has lost its store's end: going on would make two histories. */
static bool is_forked(glas_core *core, glas_link *link, const uint64_t *vector)
{
    glas_text why = {NULL, 0};
    if (vector[core->self] > glas_frontier(core, core->self)) why = GLAS_T("the other end has entries of this mirror that its own store has lost: restore the store, or retire this mirror");
    if (core->peers[link->peer].applied > vector[link->peer]) why = GLAS_T("this end has entries of the other mirror that its store has lost: restore that store, or retire that mirror");
    if (vector[core->self] < core->peers[link->peer].acked) why = GLAS_T("the other end's store has lost entries that it had acknowledged: restore that store, or retire that mirror");
    if (why.n != 0) glas_link_refuse(core, link, &why, 1);
    return why.n != 0;
}

static void new_incarnation(glas_core *core, uint32_t peer, uint64_t incarnation)
{
    if (incarnation == core->peers[peer].incarnation) return;
    core->peers[peer].incarnation = incarnation;
    glas_session_prune(core, peer, UINT64_MAX); /* what an earlier run asked, nobody waits for */
    for (uint32_t i = 0; i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        if (call->used && call->form == GLAS_REMOTE && call->started_at == peer) glas_call_free(core, call);
    }
}

glas_taken glas_take_hello(glas_core *core, glas_link *link, glas_reader *reader)
{
    hello it;
    glas_text parts[5];
    if (link->greeted || !take_hello_head(reader, &it)) return GLAS_REFUSED_FRAME;
    size_t count = why_not(core, link, &it, parts);
    if (count != 0) return glas_link_refuse(core, link, parts, count), GLAS_TAKEN;
    bool answered = link->peer != GLAS_NO_MIRROR;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (!glas_take_uint(reader, UINT64_MAX / 2, &link->in_vector[i])) return GLAS_REFUSED_FRAME;
    uint32_t peer = (uint32_t)it.self;
    bool late = glas_link_of(core, peer) != NULL && knows_less(core, peer, link->in_vector);
    link->peer = peer;
    if (!late) glas_replace_link(core, peer);
    if (late || (answered && link->out_vector[peer] != core->peers[peer].applied)) {
        /* Another link brought entries after a HELLO of this one had said where to go on: the stream would repeat them. */
        glas_link_close(core, link, GLAS_T("overtaken by another link to the same mirror"));
        return GLAS_TAKEN;
    }
    if (is_forked(core, link, link->in_vector)) return GLAS_TAKEN;
    if (!answered) glas_put_hello(core, link);
    if (!link->used) return GLAS_TAKEN;
    link->greeted = true;
    core->peers[link->peer].link = (uint32_t)(link - core->links);
    new_incarnation(core, link->peer, it.incarnation);
    link->sent = link->in_vector[core->self];
    link->acked = core->peers[link->peer].applied;
    link->probed = INT64_MIN; /* probe at once: replicas become fresh */
    core->wake_at = core->clock;
    glas_log_acked(core, link->peer, link->sent);
    glas_out_log(core, GLAS_LOG_INFO, (glas_text[]){GLAS_T("linked to "), core->peers[link->peer].name}, 2);
    glas_ship_again(core, link);
    return GLAS_TAKEN;
}
