/* Calls that come, wait and end; steps and their fair turns; `start`. Knows no frame.
 *
 * Waiting costs nothing: a step that failed, waits or wrote nothing sleeps until something that it reads changes. A call that waits is
 * retried likewise until its time is over (so long polling is free).
 */
#include "core.h"

#define STEPS_A_TURN 64u          /* transactions of steps in one turn, so that calls and links get theirs */
#define START_RETRY INT64_C(1000000)
#define LOOK_AGAIN INT64_C(1000000) /* what waits for a time, or for memory, is tried again so often */

bool glas_sched_open(glas_core *core)
{
    const glas_app *app = core->app;
    core->start_method = app->method_count;
    core->calls_again = GLAS_NEVER;
    core->steps = glas_heap_resize(&core->heap, NULL, 0, (app->method_count + 1) * sizeof *core->steps);
    core->calls = glas_heap_resize(&core->heap, NULL, 0, core->config.max_waiting * sizeof *core->calls);
    if (core->steps == NULL || core->calls == NULL) return false;
    memset(core->calls, 0, core->config.max_waiting * sizeof *core->calls);
    core->call_count = core->config.max_waiting;
    for (uint32_t i = 0; i < app->method_count; i++) {
        if (app->methods[i].kind == GLAS_START) core->start_method = i;
        if (app->methods[i].kind != GLAS_STEP) continue;
        core->steps[core->step_count++] = (glas_step_state){.method = i, .here = core->ship_to[i] == core->self, .again = GLAS_NEVER};
    }
    return true;
}

void glas_sched_close(glas_core *core)
{
    for (uint32_t i = 0; core->calls != NULL && i < core->call_count; i++)
        if (core->calls[i].used) glas_call_free(core, &core->calls[i]);
    glas_heap_resize(&core->heap, core->calls, core->calls == NULL ? 0 : core->config.max_waiting * sizeof *core->calls, 0);
    glas_heap_resize(&core->heap, core->steps, core->steps == NULL ? 0 : (core->app->method_count + 1) * sizeof *core->steps, 0);
}

void glas_wake_all(glas_core *core)
{
    core->calls_awake = core->calls_used > core->calls_shipped;
    for (uint32_t i = 0; i < core->step_count; i++) {
        if (core->steps[i].awake || !core->steps[i].here) continue;
        core->steps[i].awake = true;
        core->steps_awake++;
    }
}

/* Glas: `start` commits once, and only then does anything else run. It is the first entry of the origin's log. */
void glas_note_started(glas_core *core)
{
    if (core->started) return;
    core->started = core->start_method == core->app->method_count || glas_frontier(core, core->config.origin) > 0;
    if (core->started && core->running) glas_wake_all(core);
}

/* ------------------------------------------------------------------ calls that wait */

glas_call *glas_call_slot(glas_core *core)
{
    if (core->calls_used == core->call_count) return NULL;
    for (uint32_t i = 0; i < core->call_count; i++)
        if (!core->calls[i].used) return &core->calls[i];
    return NULL;
}

void glas_call_free(glas_core *core, glas_call *call)
{
    const glas_type *type = core->app->methods[call->method].args;
    if (!type->plain) type->drop(&core->heap, call->args);
    glas_heap_resize(&core->heap, call->args, type->size, 0);
    glas_drop_text(&core->heap, &call->body);
    core->calls_shipped -= call->shipped;
    core->calls_kept -= call->form != GLAS_REMOTE;
    core->calls_used--;
    *call = (glas_call){0};
}

/* A copy of a call that will end later; NULL: no room or no memory. */
static glas_call *keep(glas_core *core, const glas_call *call)
{
    glas_call *slot = glas_call_slot(core);
    const glas_type *type = core->app->methods[call->method].args;
    if (slot == NULL || !glas_out_reserve(core, core->calls_kept + 1)) return NULL;
    void *args = glas_heap_resize(&core->heap, NULL, 0, type->size);
    if (args == NULL) return NULL;
    if (type->plain) memcpy(args, call->args, type->size);
    else if (!type->copy(&core->heap, args, call->args)) {
        glas_heap_resize(&core->heap, args, type->size, 0);
        return NULL;
    }
    glas_text body;
    if (!glas_copy_text(&core->heap, &body, call->body)) {
        if (!type->plain) type->drop(&core->heap, args);
        glas_heap_resize(&core->heap, args, type->size, 0);
        return NULL;
    }
    *slot = *call;
    slot->used = slot->kept = true;
    slot->args = args;
    slot->body = body;
    core->calls_used++;
    core->calls_kept += call->form != GLAS_REMOTE;
    return slot;
}

static void busy(glas_core *core, const glas_call *call, glas_reply *reply)
{
    bool full = core->calls_used == core->call_count;
    glas_reply_abort(core, call, GLAS_WHY_BUSY, full ? GLAS_T("too many calls wait here already") : GLAS_T("out of memory: the call cannot wait here"), reply);
}

/* False: it ended at once, and `reply` says how. */
static bool wait_here(glas_core *core, const glas_call *call, glas_reply *reply)
{
    if (call->deadline <= core->clock) {
        glas_reply_abort(core, call, GLAS_WHY_TIMEOUT, GLAS_T("nothing came to let it go on in time"), reply);
        return false;
    }
    if (core->txn.read_clock && core->clock + LOOK_AGAIN < core->calls_again) core->calls_again = core->clock + LOOK_AGAIN;
    if (call->kept) return true;
    if (keep(core, call) == NULL) return busy(core, call, reply), false;
    const uint64_t *reads = core->app->methods[call->method].reads;
    for (uint32_t word = 0; word < GLAS_MASK_WORDS; word++) core->waiting_reads[word] |= reads[word];
    return true;
}

/* docs/consistency.md 6: what misses a unit beyond a cut is refused, with the names of the unit and the mirror. */
static void refuse(glas_core *core, const glas_call *call, glas_reply *reply, glas_text why)
{
    glas_text parts[] = {core->txn.message, why};
    glas_reply_abort(core, call, GLAS_WHY_REFUSED, glas_txn_text(&core->txn, parts, 2), reply);
}

static bool ship(glas_core *core, const glas_call *call, glas_reply *reply)
{
    uint32_t to = core->txn.missed_owner;
    if (call->form == GLAS_REMOTE) {
        refuse(core, call, reply, GLAS_T("; units of several mirrors in one transaction need two-phase commit, which is not supported yet"));
        return false;
    }
    if (glas_link_of(core, to) == NULL) {
        refuse(core, call, reply, GLAS_T(", which is cut off from here"));
        return false;
    }
    if (!glas_may_ship(core, call)) {
        glas_reply_abort(core, call, GLAS_WHY_ERROR, GLAS_T("too large: max_link_buffer does not allow to send the arguments to another mirror"), reply);
        return false;
    }
    glas_call *slot = call->kept ? &core->calls[call - core->calls] : keep(core, call);
    if (slot == NULL) return busy(core, call, reply), false;
    return glas_ship(core, slot, to);
}

/* One attempt of a call; true: it goes on later. */
static bool attempt(glas_core *core, const glas_call *call, glas_reply *reply)
{
    if (call->form == GLAS_REMOTE && !glas_may_answer(core, call->started_at)) return wait_here(core, call, reply);
    switch (glas_call_attempt(core, call, reply)) {
    case GLAS_ENDED: return false;
    case GLAS_WAITS: return wait_here(core, call, reply);
    case GLAS_MISSED: return ship(core, call, reply);
    }
    return false;
}

void glas_call_arrives(glas_core *core, const glas_call *call, glas_reply *reply)
{
    glas_reply local;
    glas_reply *at_once = reply != NULL ? reply : &local;
    *at_once = (glas_reply){.call = call->id, .outcome = GLAS_PENDING};
    if (attempt(core, call, at_once)) {
        *at_once = (glas_reply){.call = call->id, .outcome = GLAS_PENDING};
        return;
    }
    if (call->form == GLAS_REMOTE) glas_send_reply(core, call, at_once);
    else if (reply == NULL) glas_out_reply(core, at_once, call->form == GLAS_TYPED ? core->app->methods[call->method].result : NULL);
}

void glas_call_ends(glas_core *core, glas_call *call, const glas_reply *reply)
{
    if (call->form == GLAS_REMOTE) glas_send_reply(core, call, reply);
    else glas_out_reply(core, reply, call->form == GLAS_TYPED ? core->app->methods[call->method].result : NULL);
    glas_call_free(core, call);
}

void glas_call_cancel(glas_core *core, uint64_t id)
{
    for (uint32_t i = 0; i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        if (call->used && call->form != GLAS_REMOTE && call->id == id) glas_call_free(core, call);
    }
}

static void retry_waiting(glas_core *core)
{
    core->calls_awake = false;
    memset(core->waiting_reads, 0, sizeof core->waiting_reads);
    for (uint32_t i = 0; i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        glas_reply reply;
        if (!call->used || call->shipped) continue;
        if (!attempt(core, call, &reply)) {
            glas_call_ends(core, call, &reply);
            continue;
        }
        const uint64_t *reads = core->app->methods[call->method].reads;
        for (uint32_t word = 0; word < GLAS_MASK_WORDS; word++) core->waiting_reads[word] |= reads[word];
    }
}

static void end_overdue(glas_core *core, int64_t *wake)
{
    for (uint32_t i = 0; i < core->call_count; i++) {
        glas_call *call = &core->calls[i];
        glas_reply reply;
        if (!call->used) continue;
        bool over = call->deadline <= core->clock;
        if (over && call->form == GLAS_REMOTE && !glas_may_answer(core, call->started_at)) continue; /* it ends once its answer has room */
        if (!over) {
            if (call->deadline < *wake) *wake = call->deadline;
            continue;
        }
        glas_txn_begin(core, NULL, core->self);
        glas_text parts[] = {GLAS_T("sent to "), core->peers[call->shipped ? call->to : core->self].name, GLAS_T(", and no answer came in time: it may or may not have happened")};
        if (call->shipped) glas_reply_unknown(core, call, glas_txn_text(&core->txn, parts, 3), &reply);
        else glas_reply_abort(core, call, GLAS_WHY_TIMEOUT, GLAS_T("nothing came to let it go on in time"), &reply);
        glas_call_ends(core, call, &reply);
    }
}

/* ------------------------------------------------------------------ steps */

static void sleep_step(glas_core *core, glas_step_state *step)
{
    if (step->awake) core->steps_awake--;
    step->awake = false;
    step->again = core->txn.read_clock || core->txn.no_memory ? core->clock + LOOK_AGAIN : GLAS_NEVER;
}

/* docs/consistency.md 7: a clock is something that a transaction reads, so what waits for it must not sleep for ever. */
static void wake_on_time(glas_core *core, int64_t *wake)
{
    for (uint32_t i = 0; i < core->step_count; i++) {
        glas_step_state *step = &core->steps[i];
        if (step->awake || !step->here) continue;
        if (step->again <= core->clock) {
            step->awake = true;
            core->steps_awake++;
        } else if (step->again < *wake) *wake = step->again;
    }
    if (core->calls_again <= core->clock) {
        core->calls_again = GLAS_NEVER;
        core->calls_awake = core->calls_used > core->calls_shipped;
    }
    if (core->calls_again < *wake) *wake = core->calls_again;
}

static glas_status run_method(glas_core *core, uint32_t number)
{
    const glas_method_info *method = &core->app->methods[number];
    glas_txn_begin(core, method, core->self);
    memset(core->args, 0, method->args->size);
    memset(core->result, 0, method->result->size);
    glas_status status = method->run(&core->txn, core->args, core->result);
    bool changes = core->txn.change_count != 0;
    if (status != GLAS_OK) {
        glas_txn_abort(core);
        return status;
    }
    status = glas_commit(core, NULL);
    return status == GLAS_OK && !changes ? GLAS_FAIL : status; /* nothing new: as good as failed */
}

static void trace_step(glas_core *core, const glas_method_info *method, glas_status status)
{
    static const char *const ends[] = {[GLAS_OK] = "commits", [GLAS_FAIL] = "fails", [GLAS_WAIT] = "waits", [GLAS_MISS] = "misses", [GLAS_ERROR] = "errs"};
    if (core->config.trace) glas_out_trace(core, (glas_text[]){glas_cstring(method->title), GLAS_T(" "), glas_cstring(ends[status])}, 3);
}

static void run_step(glas_core *core, glas_step_state *step)
{
    const glas_method_info *method = &core->app->methods[step->method];
    glas_status status = run_method(core, step->method);
    trace_step(core, method, status);
    if (status == GLAS_OK) return;
    if (status == GLAS_MISS) core->missed = true; /* the mirror that owns it runs this step (route: skip) */
    if (status == GLAS_ERROR) {
        glas_text parts[] = {glas_cstring(method->title), GLAS_T(": "), core->txn.message};
        glas_out_log(core, GLAS_LOG_ERROR, parts, 3);
    }
    sleep_step(core, step);
}

/* Round robin over those awake: none starves. */
static void run_steps(glas_core *core)
{
    for (uint32_t runs = 0; runs < STEPS_A_TURN && core->steps_awake > 0; runs++) {
        while (!core->steps[core->step_next].awake) core->step_next = (core->step_next + 1) % core->step_count;
        glas_step_state *step = &core->steps[core->step_next];
        core->step_next = (core->step_next + 1) % core->step_count;
        run_step(core, step);
    }
}

static void run_start(glas_core *core, int64_t *wake)
{
    if (core->config.origin != core->self || core->started) return;
    if (core->clock >= core->start_again) {
        glas_status status = run_method(core, core->start_method);
        core->start_again = core->clock + START_RETRY;
        glas_note_started(core);
        if (core->started) return;
        glas_text parts[] = {GLAS_T("start did not commit, and will be tried again: "), status == GLAS_FAIL ? GLAS_T("it failed") : core->txn.message};
        glas_out_log(core, GLAS_LOG_ERROR, parts, 2);
    }
    if (core->start_again < *wake) *wake = core->start_again;
}

bool glas_work_waits(const glas_core *core) { return core->running && core->started && (core->steps_awake > 0 || core->calls_awake); }

void glas_turn(glas_core *core, int64_t *wake)
{
    run_start(core, wake);
    if (core->started) {
        int64_t later = GLAS_NEVER; /* what sleeps before this turn's runs may be awake by then, and the other way round */
        wake_on_time(core, &later);
        if (core->calls_awake) retry_waiting(core);
        run_steps(core);
        wake_on_time(core, wake);
    }
    if (core->calls_used > 0) end_overdue(core, wake);
}
