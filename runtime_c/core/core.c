/* The one door: glas_open, glas_step, glas_poll, glas_close. What each input and output means is said in glas_core.h. */
#include "core.h"

#define KEPT_BUFFER 65536u /* bytes of a buffer that are kept for its next use */

/* ------------------------------------------------------------------ opening */

static glas_core *say(char *error, size_t size, const char *message)
{
    size_t n = strlen(message);
    if (size == 0) return NULL;
    if (n >= size) n = size - 1;
    memcpy(error, message, n);
    error[n] = 0;
    return NULL;
}

static const char *config_error(const glas_app *app, const glas_config *config)
{
    if (app->interface != GLAS_APP_INTERFACE) return "the app was compiled for another core";
    if (config->mirror_count == 0 || config->mirror_count > GLAS_MAX_MIRRORS) return "a roster has 1 to 1000 mirrors";
    if (config->self >= config->mirror_count || config->origin >= config->mirror_count) return "self and origin must be mirrors of the roster";
    if (config->max_waiting == 0 || config->max_link_buffer < GLAS_LEAST_LINK_BUFFER(config->mirror_count) || config->max_heap < 65536)
        return "max_waiting, max_link_buffer or max_heap is too small";
    if (config->max_link_buffer > UINT32_MAX / 8 || config->max_text > UINT32_MAX / 8) return "max_link_buffer or max_text is too large";
    if (config->ping_us <= 0 || config->silent_us <= config->ping_us || config->silent_us > GLAS_TIME_MOST)
        return "silent must be longer than ping, and both more than nothing";
    for (uint32_t place = 0; place < app->place_count; place++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < config->mirror_count; i++)
            if (config->mirrors[i].places >> place & 1) count++;
        if (!app->place_many[place] && count != 1) return "a place that is not `many` needs exactly one mirror";
    }
    for (uint32_t i = 0; i < config->mirror_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (config->mirrors[i].name.n == config->mirrors[k].name.n && memcmp(config->mirrors[i].name.p, config->mirrors[k].name.p, config->mirrors[i].name.n) == 0)
                return "two mirrors have one name";
    return NULL;
}

static uint64_t hash_roster(const glas_config *config)
{
    uint64_t hash = config->mirror_count;
    for (uint32_t i = 0; i < config->mirror_count; i++) {
        hash = glas_hash_bytes(config->mirrors[i].name.p, config->mirrors[i].name.n, hash);
        hash = glas_hash_int(config->mirrors[i].places, hash);
    }
    return glas_hash_int(config->origin, hash);
}

static bool open_peers(glas_core *core)
{
    core->peers = glas_heap_resize(&core->heap, NULL, 0, core->mirrors * sizeof *core->peers);
    if (core->peers == NULL) return false;
    memset(core->peers, 0, core->mirrors * sizeof *core->peers);
    for (uint32_t i = 0; i < core->mirrors; i++) {
        const glas_mirror *mirror = &core->config.mirrors[i];
        glas_peer *peer = &core->peers[i];
        peer->places = mirror->places;
        peer->fresh = peer->fresh_saved = INT64_MIN;
        peer->link = GLAS_NO_MIRROR;
        if (!glas_copy_text(&core->heap, &peer->name, (glas_text){mirror->name.p, (uint32_t)mirror->name.n})) return false;
    }
    return true;
}

/* Per method: who must run it, by the first state that it needs and that is not owned here. */
static bool open_routes(glas_core *core)
{
    const glas_app *app = core->app;
    core->ship_to = glas_heap_resize(&core->heap, NULL, 0, (app->method_count + 1) * sizeof *core->ship_to);
    core->cursors = glas_heap_resize(&core->heap, NULL, 0, (app->choose_sites + 1) * sizeof *core->cursors);
    if (core->ship_to == NULL || core->cursors == NULL) return false;
    memset(core->cursors, 0xFF, (app->choose_sites + 1) * sizeof *core->cursors);
    for (uint32_t i = 0; i < app->method_count; i++) {
        const glas_method_info *method = &app->methods[i];
        core->ship_to[i] = core->self;
        for (uint32_t k = 0; k < method->needs_count && core->ship_to[i] == core->self; k++)
            if (core->states[method->needs[k]].owner != GLAS_NO_MIRROR) core->ship_to[i] = core->states[method->needs[k]].owner;
    }
    return true;
}

static void open_writers(glas_core *core)
{
    const size_t bulk = core->config.max_heap;
    glas_writer *const writers[] = {&core->scratch, &core->text, &core->journal, &core->snapshot, &core->out_bytes, &core->replies};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) *writers[i] = (glas_writer){.heap = &core->heap, .most = bulk};
    core->txn.core = core;
    core->txn.arena.heap = core->input_arena.heap = core->wire_arena.heap = &core->heap;
    core->wake_at = core->wake_said = GLAS_NEVER;
}

static bool open_parts(glas_core *core)
{
    const glas_app *app = core->app;
    core->states = glas_heap_resize(&core->heap, NULL, 0, (app->state_count + 1) * sizeof *core->states);
    if (core->states == NULL) return false;
    memset(core->states, 0, (app->state_count + 1) * sizeof *core->states);
    return open_peers(core) && glas_states_open(core) && open_routes(core) && glas_log_open(core) && glas_links_open(core) && glas_sched_open(core) && glas_out_reserve(core, 0);
}

glas_core *glas_open(const glas_app *app, const glas_config *config, const glas_allocator *allocator, char *error, size_t error_size)
{
    const char *wrong = config_error(app, config);
    if (wrong != NULL) return say(error, error_size, wrong);
    glas_core *core = allocator->resize(allocator->context, NULL, 0, sizeof *core);
    if (core == NULL) return say(error, error_size, "out of memory");
    memset(core, 0, sizeof *core);
    core->app = app;
    core->config = *config;
    core->heap = (glas_heap){.given = *allocator, .used = 0, .most = config->max_heap};
    core->self = config->self;
    core->mirrors = config->mirror_count;
    core->mask_words = (app->state_count + 63) / 64;
    core->cluster = hash_roster(config);
    open_writers(core);
    if (!open_parts(core)) {
        glas_close(core);
        return say(error, error_size, "out of memory: max_heap does not suffice even for an empty mirror");
    }
    core->config.mirrors = NULL; /* the caller's; copied into the peers */
    if (core->start_method < app->method_count && config->origin == core->self && core->ship_to[core->start_method] != core->self) {
        glas_close(core);
        return say(error, error_size, "start needs state that another mirror owns: the origin must stand at that state's place");
    }
    return core;
}

static void close_peers(glas_core *core)
{
    for (uint32_t i = 0; core->peers != NULL && i < core->mirrors; i++) glas_drop_text(&core->heap, &core->peers[i].name);
    glas_heap_resize(&core->heap, core->peers, core->peers == NULL ? 0 : core->mirrors * sizeof *core->peers, 0);
}

static void close_arrays(glas_core *core)
{
    const glas_app *app = core->app;
    glas_txn *txn = &core->txn;
    glas_heap_resize(&core->heap, core->ship_to, core->ship_to == NULL ? 0 : (app->method_count + 1) * sizeof *core->ship_to, 0);
    glas_heap_resize(&core->heap, core->cursors, core->cursors == NULL ? 0 : (app->choose_sites + 1) * sizeof *core->cursors, 0);
    glas_heap_resize(&core->heap, core->states, core->states == NULL ? 0 : (app->state_count + 1) * sizeof *core->states, 0);
    glas_heap_resize(&core->heap, txn->changes, txn->change_capacity * sizeof *txn->changes, 0);
    glas_heap_resize(&core->heap, txn->lines, txn->line_capacity * sizeof *txn->lines, 0);
    glas_heap_resize(&core->heap, core->outbox, core->out_capacity * sizeof *core->outbox, 0);
}

void glas_close(glas_core *core)
{
    if (core == NULL) return;
    glas_allocator given = core->heap.given;
    glas_txn_settle(core);
    glas_sched_close(core);
    glas_links_close(core);
    glas_log_close(core);
    glas_states_close(core);
    glas_out_release(core);
    close_arrays(core);
    close_peers(core);
    glas_arena_close(&core->txn.arena);
    glas_arena_close(&core->input_arena);
    glas_arena_close(&core->wire_arena);
    glas_writer *const writers[] = {&core->scratch, &core->text, &core->journal, &core->snapshot, &core->out_bytes, &core->replies};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) glas_writer_close(writers[i]);
    GLAS_ASSERT(core->heap.used == 0); /* what was taken has been given back, to the byte */
    glas_heap_close(&core->heap);
    given.resize(given.context, core, sizeof *core, 0);
}

/* ------------------------------------------------------------------ inputs */

/* A buffer that one large value has made large is not kept for small ones. */
static void shrink(glas_writer *writer)
{
    if (writer->capacity > KEPT_BUFFER && writer->n == 0) glas_writer_close(writer);
}

static void shrink_all(glas_core *core)
{
    core->scratch.n = core->text.n = core->replies.n = 0; /* nothing in them outlives a step and its outputs */
    glas_writer *const writers[] = {&core->scratch, &core->text, &core->replies, &core->journal, &core->out_bytes};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) shrink(writers[i]);
    for (uint32_t i = 0; i < core->link_count; i++) {
        glas_link *link = &core->links[i];
        if (!link->used) continue;
        shrink(&link->out);
        shrink(&link->later);
        if (link->in_n != 0 || link->in_capacity <= KEPT_BUFFER) continue;
        link->in = glas_heap_resize(&core->heap, link->in, link->in_capacity, 0);
        link->in_capacity = 0;
    }
}

/* Outputs given by the last polls are dead now. */
static void settle(glas_core *core)
{
    glas_out_settle(core);
    if (core->journal_given) core->journal.n = 0;
    if (core->snapshot_given) glas_writer_close(&core->snapshot);
    core->journal_given = core->snapshot_given = false;
    for (uint32_t i = 0; i < core->link_count; i++) {
        if (!core->links[i].used || !core->links[i].out_given) continue;
        core->links[i].out.n = 0;
        core->links[i].out_given = false;
    }
    shrink_all(core);
}

static void loaded(const glas_core *core, bool ok, const char *error, glas_reply *reply)
{
    glas_call nobody = {.id = reply->call};
    if (ok) *reply = (glas_reply){.call = reply->call, .outcome = GLAS_COMMITTED, .status = 200};
    else glas_reply_abort(core, &nobody, GLAS_WHY_ERROR, glas_cstring(error), reply);
}

static void load(glas_core *core, const glas_input *input, glas_reply *reply)
{
    static const char late[] = "snapshot and journal are loaded before START, the snapshot first";
    char *error = (char *)core->result; /* the reply points at it: it lives until the next transaction */
    bool first = core->journal_end == 0 && core->log.next == 1;
    bool is_snapshot = input->kind == GLAS_IN_SNAPSHOT_LOADED;
    if (core->running || (is_snapshot && !first)) {
        loaded(core, false, late, reply);
        return;
    }
    bool ok = is_snapshot ? glas_snapshot_load(core, input->a, error, GLAS_MAX_RESULT)
                          : glas_journal_load(core, input->a, input->position, error, GLAS_MAX_RESULT);
    core->damaged |= !ok;
    loaded(core, ok, error, reply);
}

static void start(glas_core *core, glas_reply *reply)
{
    if (core->running || core->damaged) {
        loaded(core, false, core->running ? "START comes once" : "snapshot or journal did not load: this mirror must not go on from there", reply);
        return;
    }
    core->incarnation++;
    for (uint32_t i = 0; i < core->mirrors; i++) /* the clock was set back meanwhile: how old a replica is, is not known */
        if (core->peers[i].fresh > core->clock) core->peers[i].fresh = core->peers[i].fresh_saved = INT64_MIN;
    bool ok = glas_journal_start(core);
    core->running = ok;
    if (GLAS_PLANT == 5)
        for (uint32_t i = 0; i < core->mirrors; i++)
            if (core->peers[i].applied > 0) core->peers[i].applied--;
    glas_note_started(core);
    if (core->started) glas_wake_all(core);
    loaded(core, ok, "out of memory", reply);
}

static void bad_input(const glas_core *core, const glas_call *call, glas_text message, glas_reply *reply)
{
    glas_reply_abort(core, call, GLAS_WHY_BAD_INPUT, message, reply);
}

/* The JSON object of an rpc call's arguments; the method is found by name. */
static bool rpc_arguments(glas_core *core, const glas_input *input, glas_call *call, glas_reply *reply)
{
    for (uint32_t i = 0; i < core->app->method_count; i++) {
        const glas_method_info *method = &core->app->methods[i];
        if (method->kind != GLAS_RPC_METHOD || strlen(method->name) != input->a.n || memcmp(method->name, input->a.p, input->a.n) != 0) continue;
        call->method = i;
        call->args = core->args;
        memset(core->args, 0, method->args->size);
        glas_json json = {.p = (const uint8_t *)input->b.p, .n = input->b.n, .arena = &core->input_arena};
        bool no_arguments = method->args == &glas_type_unit && glas_json_open(&json) && glas_json_closed(&json) && glas_json_at_end(&json);
        if (no_arguments || (method->args != &glas_type_unit && method->args->from_json(&json, core->args) && glas_json_at_end(&json))) return true;
        glas_txn_begin(core, method, core->self);
        if (json.no_memory) return glas_reply_abort(core, call, GLAS_WHY_ERROR, GLAS_T("out of memory while reading the arguments"), reply), false;
        char at[20];
        glas_text parts[] = {GLAS_T("the arguments are not what "), glas_cstring(method->title), GLAS_T(" takes, "), glas_cstring(method->args->name),
                             GLAS_T(" (byte "), {at, (uint32_t)glas_int_format((int64_t)json.at, at)}, GLAS_T(")")};
        bad_input(core, call, glas_txn_text(&core->txn, parts, 7), reply);
        return false;
    }
    glas_reply_abort(core, call, GLAS_WHY_NO_METHOD, GLAS_T("no rpc method of that name"), reply);
    return false;
}

static bool find_method(glas_core *core, const glas_input *input, glas_call *call, glas_reply *reply)
{
    size_t most = core->config.max_text;
    bool is_typed = input->kind == GLAS_IN_CALL;
    glas_arena_reset(&core->input_arena);
    if (!is_typed && (input->a.n > most || input->b.n > most || input->c.n > most)) return bad_input(core, call, GLAS_T("larger than max_text allows"), reply), false;
    switch (input->kind) {
    case GLAS_IN_HTTP:
        call->form = GLAS_AS_HTTP;
        call->body = (glas_text){input->c.p, (uint32_t)input->c.n};
        return glas_http_find(core, input->a, input->b, call, reply);
    case GLAS_IN_RPC:
        call->form = GLAS_AS_RPC;
        return rpc_arguments(core, input, call, reply);
    default: break;
    }
    call->method = input->method;
    call->args = (void *)(uintptr_t)input->args;
    bool ok = input->method < core->app->method_count && core->app->methods[input->method].kind == GLAS_RPC_METHOD;
    if (!ok) return glas_reply_abort(core, call, GLAS_WHY_NO_METHOD, GLAS_T("no rpc method of that number"), reply), false;
    if (call->args == NULL) return bad_input(core, call, GLAS_T("no arguments were given"), reply), false;
    return true;
}

static int64_t deadline_of(const glas_core *core, const glas_input *input)
{
    int64_t wait = input->timeout_us < 0 ? 0 : input->timeout_us > GLAS_TIME_MOST ? GLAS_TIME_MOST : input->timeout_us;
    return core->clock + wait;
}

static void take_call(glas_core *core, const glas_input *input)
{
    glas_call call = {.form = GLAS_TYPED, .started_at = core->self, .id = input->call, .deadline = deadline_of(core, input)};
    glas_reply early = {.call = input->call};
    if (find_method(core, input, &call, &early)) {
        glas_call_arrives(core, &call, input->reply);
        return;
    }
    if (input->reply != NULL) *input->reply = early;
    else glas_out_reply(core, &early, NULL);
}

static void answer(glas_core *core, const glas_input *input, void (*ask)(glas_core *, const glas_input *, glas_reply *))
{
    glas_reply local = {.call = input->call};
    glas_reply *reply = input->reply != NULL ? input->reply : &local;
    *reply = local;
    ask(core, input, reply);
    if (input->reply == NULL) glas_out_reply(core, reply, NULL);
}

static void ask_start(glas_core *core, const glas_input *input, glas_reply *reply) { (void)input, start(core, reply); }
static void ask_too_early(glas_core *core, const glas_input *input, glas_reply *reply)
{
    glas_call nobody = {.id = input->call};
    glas_reply_abort(core, &nobody, GLAS_WHY_STARTING, GLAS_T("START has not been given"), reply);
}
static void ask_inspect(glas_core *core, const glas_input *input, glas_reply *reply) { glas_inspect(core, input->a, reply); }

static bool is_call(const glas_input *input) { return input->kind == GLAS_IN_CALL || input->kind == GLAS_IN_HTTP || input->kind == GLAS_IN_RPC; }

static void take(glas_core *core, const glas_input *input)
{
    switch (input->kind) {
    case GLAS_IN_TURN: break;
    case GLAS_IN_LINK_UP: glas_link_up(core, input->link, input->a); break;
    case GLAS_IN_LINK_DOWN: glas_link_down(core, input->link); break;
    case GLAS_IN_LINK_BYTES:
        glas_link_bytes(core, input->link, input->a);
        glas_links_resume(core);
        glas_journal_acked(core);
        break;
    case GLAS_IN_DISK_DONE:
        if (input->position > core->durable && input->position <= core->journal_end) core->durable = input->position;
        break;
    case GLAS_IN_CALL:
    case GLAS_IN_HTTP:
    case GLAS_IN_RPC: take_call(core, input); break;
    case GLAS_IN_CANCEL: glas_call_cancel(core, input->call); break;
    case GLAS_IN_SNAPSHOT: glas_snapshot_write(core); break;
    default: glas_out_log(core, GLAS_LOG_ERROR, (glas_text[]){GLAS_T("the driver gave an input of unknown kind")}, 1); break;
    }
}

/* Timers and steps; says when the next turn is due. */
static void turn(glas_core *core)
{
    int64_t wake = GLAS_NEVER;
    glas_turn(core, &wake);
    glas_links_turn(core, &wake);
    core->pump_due = true;
    core->wake_at = wake;
}

/* When the next turn is due at the latest, without taking one. */
static void note_wake(glas_core *core, const glas_input *input)
{
    int64_t deadline = deadline_of(core, input);
    if (is_call(input) && core->calls_used > 0 && deadline < core->wake_at) core->wake_at = deadline;
    if (core->calls_again < core->wake_at) core->wake_at = core->calls_again;
    if (input->kind == GLAS_IN_LINK_UP && core->clock + core->config.ping_us < core->wake_at) core->wake_at = core->clock + core->config.ping_us;
}

static int32_t pending(const glas_core *core)
{
    bool output = glas_out_waiting(core) || core->journal.n != 0 || core->snapshot_wanted || core->wake_at != core->wake_said;
    for (uint32_t i = 0; !output && i < core->link_count; i++) output = core->links[i].used && core->links[i].out.n != 0;
    output = output || (core->pump_due && core->mirrors > 1);
    return (output ? GLAS_HAS_OUTPUT : 0) | (glas_work_waits(core) ? GLAS_MORE : 0);
}

static void pass_time(glas_core *core, int64_t given)
{
    int64_t now = given < 0 ? 0 : given > GLAS_TIME_MOST ? GLAS_TIME_MOST : given;
    if (now + core->lag < core->clock) {
        core->lag = core->clock - now;
        core->wake_said = INT64_MIN; /* the same moment has another name on the driver's clock now */
    }
    core->clock = now + core->lag;
    if (now > core->now) core->now = now;
}

int32_t glas_step(glas_core *core, const glas_input *input)
{
    settle(core);
    pass_time(core, input->now);
    bool needs_start = input->kind != GLAS_IN_SNAPSHOT_LOADED && input->kind != GLAS_IN_JOURNAL_LOADED && input->kind != GLAS_IN_START;
    if (needs_start && !core->running) {
        glas_call nobody = {.id = input->call};
        if (input->reply != NULL) glas_reply_abort(core, &nobody, GLAS_WHY_STARTING, GLAS_T("START has not been given"), input->reply);
        else if (is_call(input)) answer(core, input, ask_too_early);
        return glas_out_waiting(core) ? GLAS_HAS_OUTPUT : 0;
    }
    if (input->kind == GLAS_IN_SNAPSHOT_LOADED || input->kind == GLAS_IN_JOURNAL_LOADED) answer(core, input, load);
    else if (input->kind == GLAS_IN_START) answer(core, input, ask_start);
    else if (input->kind == GLAS_IN_INSPECT) answer(core, input, ask_inspect);
    else take(core, input);
    if (input->kind == GLAS_IN_TURN || input->kind == GLAS_IN_START) turn(core);
    else note_wake(core, input);
    core->pump_due = core->pump_due || core->log.next != core->pumped;
    int32_t more = pending(core);
    if (input->reply != NULL) input->reply->more = more;
    return more;
}

/* ------------------------------------------------------------------ outputs */

static bool poll_journal(glas_core *core, glas_output *output)
{
    if (core->journal.n == 0 || core->journal_given) return false;
    core->journal_given = true;
    *output = (glas_output){.kind = GLAS_OUT_JOURNAL, .position = core->journal_end, .bytes = {(const char *)core->journal.p, core->journal.n}};
    return true;
}

static bool poll_snapshot(glas_core *core, glas_output *output)
{
    if (!core->snapshot_wanted) return false;
    core->snapshot_wanted = false;
    core->snapshot_given = true;
    *output = (glas_output){.kind = GLAS_OUT_SNAPSHOT, .position = core->snapshot_position, .barrier = core->snapshot_position,
                            .bytes = {(const char *)core->snapshot.p, core->snapshot.n}};
    return true;
}

static bool poll_links(glas_core *core, glas_output *output)
{
    for (uint32_t i = 0; i < core->link_count; i++) {
        glas_link *link = &core->links[i];
        if (!link->used || link->out.n == 0 || link->out_given) continue;
        link->out_given = true;
        *output = (glas_output){.kind = GLAS_OUT_LINK_BYTES, .link = link->number, .barrier = core->journal_end,
                                .bytes = {(const char *)link->out.p, link->out.n}};
        return true;
    }
    return false;
}

static const char LOST[] = "out of memory: what more there was to say is lost";

/* Where nothing was ever written there is no address to count from. */
static glas_bytes out_text(const glas_core *core, size_t at, size_t n)
{
    return n == 0 ? (glas_bytes){"", 0} : (glas_bytes){(const char *)core->out_bytes.p + at, n};
}

static void give_reply(const glas_core *core, const glas_outgoing *from, glas_reply *reply)
{
    size_t message_at = from->at + from->n, type_at = message_at + from->message_n;
    *reply = from->reply;
    reply->body = out_text(core, from->at, from->n);
    reply->message = out_text(core, message_at, from->message_n);
    reply->content_type = out_text(core, type_at, from->type_n);
    if (from->lost || (reply->outcome != GLAS_COMMITTED && from->message_n == 0)) reply->message = (glas_bytes){LOST, sizeof LOST - 1};
    reply->result = from->result;
}

static bool poll_outbox(glas_core *core, glas_output *output)
{
    if (!glas_out_waiting(core)) return false;
    const glas_outgoing *from = &core->outbox[core->out_next++];
    *output = (glas_output){.kind = from->kind, .level = from->level, .link = from->link, .barrier = from->barrier,
                            .bytes = out_text(core, from->at, from->n)};
    if (from->has_reply) give_reply(core, from, &output->reply);
    return true;
}

static bool poll_wake(glas_core *core, glas_output *output)
{
    if (core->wake_at == core->wake_said) return false;
    core->wake_said = core->wake_at;
    *output = (glas_output){.kind = GLAS_OUT_WAKE, .at = core->wake_at == GLAS_NEVER ? GLAS_NEVER : core->wake_at - core->lag};
    return true;
}

int32_t glas_poll(glas_core *core, glas_output *output)
{
    if (core->pump_due && core->running) {
        for (uint32_t i = 0; i < core->link_count; i++) /* what was given is dead: the caller has polled again */
            if (core->links[i].used && core->links[i].out_given) core->links[i].out.n = 0, core->links[i].out_given = false;
        glas_links_pump(core);
        core->pumped = core->log.next;
    }
    /* The outbox before the links: a BYE and a close concern links that have nothing more to say. */
    return poll_journal(core, output) || poll_snapshot(core, output) || poll_outbox(core, output) || poll_links(core, output) || poll_wake(core, output);
}
