/* One attempt of a method: run it, commit it, say how it ended. Knows no link; who waits and who ships is decided above. */
#include "core.h"

/* Wakes the steps and the waiting calls that read what the running transaction changed (waiting costs nothing else). */
void glas_changed(glas_core *core)
{
    uint64_t changed[GLAS_MASK_WORDS] = {0};
    for (uint32_t i = 0; i < core->txn.change_count; i++) glas_mask_add(changed, core->txn.changes[i].state);
    for (uint32_t i = 0; i < core->step_count; i++) {
        glas_step_state *step = &core->steps[i];
        const uint64_t *reads = core->app->methods[step->method].reads;
        for (uint32_t word = 0; word < core->mask_words && !step->awake && step->here; word++) {
            if ((reads[word] & changed[word]) == 0) continue;
            step->awake = true;
            core->steps_awake++;
        }
    }
    for (uint32_t word = 0; word < core->mask_words; word++)
        if (core->waiting_reads[word] & changed[word]) core->calls_awake = true;
}

static glas_status busy(glas_core *core)
{
    core->log_was_full = true;
    core->txn.message = GLAS_T("the log for mirrors that are away is full");
    return GLAS_WAIT;
}

/* Puts the causes where the entry in `writer` begins with a byte that says that there are none. */
static void put_causes_first(const glas_core *core, glas_writer *writer)
{
    size_t entry_n = writer->n - 1;
    glas_log_put_causes(core, writer);
    size_t n = writer->n - 1 - entry_n;
    if (writer->failed || glas_writer_room(writer, n) == NULL) return;
    memmove(writer->p + n, writer->p + 1, entry_n + n);
    memcpy(writer->p, writer->p + n + entry_n, n);
    writer->n = n + entry_n;
}

/* The entry's bytes in core->scratch; *kept, *needed as of glas_entry_put. One that no other mirror needs is nobody's cause: what it knew
 * is among the causes of the next one that others see. So such entries are all alike, however many there are. */
static bool make_entry(glas_core *core, bool *kept, bool *needed)
{
    glas_writer *writer = &core->scratch;
    writer->n = 0;
    writer->failed = false;
    writer->base_time = core->txn.time;
    glas_put_byte(writer, 0);
    glas_entry_put(core, writer, kept, needed);
    if (*needed && core->applied_since && !writer->failed) put_causes_first(core, writer);
    return !writer->failed;
}

static glas_status append_entry(glas_core *core, bool needed, const glas_call *shipped)
{
    const glas_writer *entry = &core->scratch;
    int64_t last_time = core->log.last_time;
    if (shipped != NULL && !glas_session_keep(core, shipped->started_at, shipped->id, core->text.p, core->text.n)) return glas_no_memory(&core->txn);
    bool ok = needed ? glas_log_append(core, entry->p, entry->n, core->txn.time) : glas_log_append_run(core, 1, core->txn.time);
    if (ok && !glas_journal_commit(core, entry->p, entry->n, shipped, &core->text)) {
        glas_log_unappend(core, last_time);
        ok = false;
    }
    if (!ok && shipped != NULL) glas_session_forget(core, shipped->started_at, shipped->id);
    if (!ok) return glas_no_memory(&core->txn);
    if (!needed || !core->applied_since) return GLAS_OK;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (i != core->self) core->peers[core->self].causes[i] = core->peers[i].applied;
    core->applied_since = false;
    return GLAS_OK;
}

static void trace_commit(glas_core *core)
{
    char number[20];
    if (!core->config.trace) return;
    glas_text parts[] = {GLAS_T("commit "), {number, (uint32_t)glas_int_format((int64_t)(core->log.next - 1), number)}, GLAS_T(" "),
                         glas_cstring(core->txn.method->title), GLAS_T(" started at "), core->peers[core->txn.started_at].name};
    glas_out_trace(core, parts, 6);
}

/* What changed only what no journal keeps is no entry; a shipped call takes effect once all the same, while this mirror lives. */
static glas_status remember(glas_core *core, const glas_call *shipped)
{
    if (shipped == NULL || glas_session_keep(core, shipped->started_at, shipped->id, core->text.p, core->text.n)) return GLAS_OK;
    return glas_no_memory(&core->txn);
}

/* Of calls of one mirror that it has not said to have answers of, only so many are remembered. */
static bool may_remember(const glas_core *core, const glas_call *shipped)
{
    return shipped == NULL || core->peers[shipped->started_at].done_count < core->config.max_waiting;
}

static glas_status remembers_too_many(glas_core *core, const glas_call *shipped)
{
    glas_text parts[] = {GLAS_T("too many answers wait here for "), core->peers[shipped->started_at].name, GLAS_T(" to say that it has them")};
    core->txn.message = glas_txn_text(&core->txn, parts, 3);
    return GLAS_WAIT;
}

/* A transaction that changed nothing is no entry; `start` always is one, so that all mirrors learn of it. */
static glas_status record(glas_core *core, const glas_call *shipped)
{
    bool kept, needed, is_start = core->txn.method->kind == GLAS_START;
    if (core->txn.change_count == 0 && !is_start) return GLAS_OK;
    if (core->mirrors == 1 && !core->config.durable) {
        core->log.first = ++core->log.next;
        return GLAS_OK;
    }
    if (!make_entry(core, &kept, &needed)) return glas_no_memory(&core->txn);
    if (!may_remember(core, shipped)) return remembers_too_many(core, shipped);
    if (!kept && !is_start) return remember(core, shipped);
    if (needed && !glas_fits(core, core->scratch.n)) return glas_txn_error(&core->txn, "too large: max_link_buffer does not allow to send what it changed to the other mirrors");
    if (needed && GLAS_LOG_COST(core->scratch.n) > core->config.max_log) return glas_txn_error(&core->txn, "too large: max_log does not allow to keep what it changed for the other mirrors");
    if (needed && !glas_log_has_room(core, core->scratch.n)) return busy(core);
    glas_status status = append_entry(core, needed, shipped);
    if (status == GLAS_OK) trace_commit(core);
    return status;
}

glas_status glas_commit(glas_core *core, const glas_call *shipped)
{
    glas_status status = record(core, shipped);
    if (status != GLAS_OK) {
        glas_txn_abort(core);
        return status;
    }
    glas_changed(core);
    for (uint32_t i = 0; i < core->txn.line_count; i++) glas_out_log(core, GLAS_LOG_INFO, &core->txn.lines[i], 1);
    glas_txn_finish(core);
    return GLAS_OK;
}

/* ------------------------------------------------------------------ replies */

static int32_t http_status(int32_t reason)
{
    static const int32_t status[] = {
        [GLAS_WHY_NONE] = 200, [GLAS_WHY_FAILED] = 409, [GLAS_WHY_ERROR] = 500, [GLAS_WHY_REFUSED] = 503, [GLAS_WHY_TIMEOUT] = 504,
        [GLAS_WHY_BAD_INPUT] = 400, [GLAS_WHY_NO_METHOD] = 404, [GLAS_WHY_BAD_VERB] = 405, [GLAS_WHY_BUSY] = 503, [GLAS_WHY_STARTING] = 503,
    };
    GLAS_ASSERT(reason >= 0 && (size_t)reason < sizeof status / sizeof *status);
    return status[reason];
}

static glas_bytes as_bytes(glas_text text) { return (glas_bytes){text.p, text.n}; }

void glas_reply_abort(const glas_core *core, const glas_call *call, int32_t reason, glas_text message, glas_reply *reply)
{
    *reply = (glas_reply){.call = call->id, .barrier = core->journal_end, .outcome = GLAS_ABORTED, .reason = reason,
                          .status = http_status(reason), .message = as_bytes(message)};
}

void glas_reply_unknown(const glas_core *core, const glas_call *call, glas_text message, glas_reply *reply)
{
    *reply = (glas_reply){.call = call->id, .barrier = core->journal_end, .outcome = GLAS_UNKNOWN, .status = 504, .message = as_bytes(message)};
}

static void rpc_body(glas_core *core, const glas_type *type, const void *result, glas_reply *reply)
{
    glas_writer *writer = &core->replies;
    writer->n = 0;
    writer->failed = false;
    type->to_json(writer, result);
    if (writer->failed) { /* it has committed, but the answer is lost */
        reply->outcome = GLAS_UNKNOWN;
        reply->status = 504;
        return;
    }
    reply->content_type = as_bytes(GLAS_T("application/json"));
    reply->body = (glas_bytes){(const char *)writer->p, writer->n};
}

void glas_reply_result(glas_core *core, const glas_call *call, const void *result, glas_reply *reply)
{
    const glas_method_info *method = &core->app->methods[call->method];
    /* docs/consistency.md 5: what was read may not be on disk yet either, so every result waits for all that is in the journal now. */
    *reply = (glas_reply){.call = call->id, .barrier = core->journal_end, .outcome = GLAS_COMMITTED, .status = 200, .result = result};
    if (call->form == GLAS_AS_RPC) rpc_body(core, method->result, result, reply);
    if (method->kind != GLAS_HTTP_METHOD || call->form != GLAS_AS_HTTP) return;
    const glas_http_reply *http = result;
    bool sane = http->status >= 100 && http->status <= 599;
    reply->status = sane ? (int32_t)http->status : 500;
    reply->content_type = as_bytes(http->content_type);
    reply->body = as_bytes(sane ? http->body : GLAS_T("the app answered with a status that HTTP does not know"));
}

/* ------------------------------------------------------------------ attempts */

/* The result's wire form, for the mirror that asked and for repeats: the time it is relative to, then the result. */
static glas_status remote_result(glas_core *core, const glas_method_info *method)
{
    core->text.n = 0;
    core->text.failed = false;
    core->text.base_time = core->txn.time;
    glas_put_int(&core->text, core->txn.time);
    method->result->put(&core->text, core->result);
    if (core->text.failed) return glas_no_memory(&core->txn);
    return glas_fits(core, core->text.n) ? GLAS_OK : glas_txn_error(&core->txn, "too large: max_link_buffer does not allow to send the result back");
}

static void error_line(glas_core *core, const glas_method_info *method)
{
    glas_text parts[] = {glas_cstring(method->title), GLAS_T(": "), core->txn.message};
    glas_out_log(core, GLAS_LOG_ERROR, parts, 3);
}

static glas_end ended(glas_core *core, const glas_call *call, int32_t reason, glas_text message, glas_reply *reply)
{
    glas_reply_abort(core, call, reason, message, reply);
    return GLAS_ENDED;
}

static glas_end after(glas_core *core, const glas_call *call, glas_status status, glas_reply *reply)
{
    const glas_method_info *method = &core->app->methods[call->method];
    switch (status) {
    case GLAS_OK: break;
    case GLAS_FAIL:
        core->txn.message = GLAS_T("the method failed");
        if (method->kind == GLAS_HTTP_METHOD) return GLAS_WAITS; /* one that aborts is retried until it times out */
        return ended(core, call, GLAS_WHY_FAILED, core->txn.message, reply);
    case GLAS_WAIT: return GLAS_WAITS;
    case GLAS_MISS: return GLAS_MISSED;
    case GLAS_ERROR:
        error_line(core, method);
        return ended(core, call, GLAS_WHY_ERROR, core->txn.message, reply);
    }
    glas_reply_result(core, call, core->result, reply);
    return GLAS_ENDED;
}

static glas_end missed_whole(glas_core *core, const glas_method_info *method, uint32_t owner)
{
    glas_txn_begin(core, method, core->self);
    core->txn.missed_owner = owner;
    for (uint32_t i = 0; i < method->needs_count; i++) {
        const glas_state *state = &core->states[method->needs[i]];
        if (state->owner != owner) continue;
        glas_text parts[] = {GLAS_T("needs "), glas_cstring(state->info->name), GLAS_T(", owned by "), core->peers[owner].name};
        core->txn.message = glas_txn_text(&core->txn, parts, 4);
        break;
    }
    return GLAS_MISSED;
}

glas_end glas_call_attempt(glas_core *core, const glas_call *call, glas_reply *reply)
{
    const glas_method_info *method = &core->app->methods[call->method];
    if (!core->started) return ended(core, call, GLAS_WHY_STARTING, GLAS_T("the app's start has not committed yet, or is not known here"), reply);
    if (core->ship_to[call->method] != core->self) return missed_whole(core, method, core->ship_to[call->method]);
    glas_txn_begin(core, method, call->started_at);
    core->txn.body = call->body;
    memset(core->result, 0, method->result->size);
    glas_status status = method->run(&core->txn, call->args, core->result);
    if (status == GLAS_OK && call->form == GLAS_REMOTE) status = remote_result(core, method);
    if (status != GLAS_OK) glas_txn_abort(core);
    else {
        status = glas_commit(core, call->form == GLAS_REMOTE ? call : NULL);
        if (status == GLAS_WAIT) return ended(core, call, GLAS_WHY_BUSY, core->txn.message, reply);
    }
    return after(core, call, status, reply);
}
