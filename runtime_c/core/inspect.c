/* What people and tools may ask of a running mirror, as JSON: its status, the content of a state, whether the invariants hold. */
#include "core.h"

#define MAX_ROWS 10000u /* of one state shown */

static void put_name(glas_writer *writer, const char *name, bool first)
{
    glas_json_put(writer, first ? "\"" : ",\"");
    glas_json_put(writer, name);
    glas_json_put(writer, "\":");
}

static void put_number(glas_writer *writer, const char *name, uint64_t value, bool first)
{
    put_name(writer, name, first);
    glas_json_put_int(writer, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

/* Beyond 64 bits a JSON number still tells the truth. Divided by hand: no compiler then calls its library for it. */
static void put_wide(glas_writer *writer, __int128 value)
{
    char digits[40];
    size_t n = 0;
    unsigned __int128 left = value < 0 ? ~(unsigned __int128)value + 1 : (unsigned __int128)value;
    do {
        uint64_t limbs[] = {(uint64_t)(left >> 96), (uint64_t)(left >> 64) & UINT32_MAX, (uint64_t)left >> 32, (uint64_t)left & UINT32_MAX}, rest = 0;
        left = 0;
        for (unsigned i = 0; i < 4; i++) {
            left = left << 32 | (rest << 32 | limbs[i]) / 10;
            rest = (rest << 32 | limbs[i]) % 10;
        }
        digits[sizeof digits - ++n] = (char)('0' + (int)rest);
    } while (left != 0);
    if (value < 0) glas_json_put(writer, "-");
    glas_put_bytes(writer, digits + sizeof digits - n, n);
}

static __int128 row_sum(const glas_core *core, const glas_state *state, uint32_t row)
{
    const void *at = glas_table_value(&state->table, row);
    if (state->info->kind == GLAS_COUNTER || state->info->kind == GLAS_DICT_COUNTER) return *(const __int128 *)at;
    __int128 sum = 0;
    for (uint32_t i = 0; i < core->mirrors; i++) sum += ((const int64_t *)at)[i];
    return sum;
}

static void put_row_value(const glas_core *core, glas_writer *writer, const glas_state *state, uint32_t row)
{
    if (state->info->value != NULL) state->info->value->to_json(writer, glas_table_value(&state->table, row));
    else put_wide(writer, row_sum(core, state, row));
}

static void put_owner(const glas_core *core, glas_writer *writer, uint32_t owner)
{
    if (owner == GLAS_NO_MIRROR) glas_json_put(writer, "null");
    else glas_json_put_text(writer, core->peers[owner].name);
}

static void put_state_summary(const glas_core *core, glas_writer *writer, const glas_state *state)
{
    static const char *const kinds[] = {"cell", "dict", "queue", "counter", "bounded", "dict of counter", "dict of bounded"};
    glas_json_put(writer, "{\"kind\":\"");
    glas_json_put(writer, kinds[state->info->kind]);
    glas_json_put(writer, "\",\"owner\":");
    put_owner(core, writer, state->owner);
    if (state->info->kind == GLAS_QUEUE) put_number(writer, "length", state->ring.count, false);
    else if (state->table.key != NULL) put_number(writer, "rows", state->table.count, false);
    else {
        put_name(writer, "value", false);
        put_row_value(core, writer, state, 0);
    }
    glas_json_put(writer, "}");
}

static void put_peer(const glas_core *core, glas_writer *writer, uint32_t number)
{
    const glas_peer *peer = &core->peers[number];
    glas_json_put_text(writer, peer->name);
    glas_json_put(writer, ":{");
    put_number(writer, "applied", glas_frontier(core, number), true);
    put_number(writer, "acknowledged", number == core->self ? glas_frontier(core, number) : peer->acked, false);
    put_name(writer, "linked", false);
    glas_json_put_bool(writer, number == core->self || peer->link != GLAS_NO_MIRROR);
    put_name(writer, "waits_for", false);
    const glas_link *link = peer->link == GLAS_NO_MIRROR ? NULL : &core->links[peer->link];
    if (link == NULL || !link->stalled || link->waits_for == GLAS_NO_MIRROR) glas_json_put(writer, "null");
    else glas_json_put_text(writer, core->peers[link->waits_for].name);
    put_name(writer, "fresh_us", false);
    if (number == core->self || peer->fresh == INT64_MIN) glas_json_put(writer, "null");
    else glas_json_put_int(writer, core->clock - peer->fresh);
    glas_json_put(writer, "}");
}

static void put_status(const glas_core *core, glas_writer *writer)
{
    glas_json_put(writer, "{\"mirror\":");
    glas_json_put_text(writer, core->peers[core->self].name);
    put_name(writer, "origin", false);
    glas_json_put_text(writer, core->peers[core->config.origin].name);
    put_name(writer, "started", false);
    glas_json_put_bool(writer, core->started);
    put_number(writer, "incarnation", core->incarnation, false);
    put_number(writer, "journal", core->journal_end, false);
    put_number(writer, "durable", core->durable, false);
    put_number(writer, "memory", core->heap.used, false);
    put_number(writer, "log_entries", core->log.next - core->log.first, false);
    put_number(writer, "log_bytes", glas_log_held(&core->log), false);
    put_number(writer, "waiting", core->calls_used - core->calls_shipped, false);
    put_number(writer, "shipped", core->calls_shipped, false);
    put_number(writer, "steps_awake", core->steps_awake, false);
    glas_json_put(writer, ",\"mirrors\":{");
    for (uint32_t i = 0; i < core->mirrors; i++) {
        if (i != 0) glas_json_put(writer, ",");
        put_peer(core, writer, i);
    }
    glas_json_put(writer, "},\"state\":{");
    for (uint32_t i = 0; i < core->app->state_count; i++) {
        put_name(writer, core->app->states[i].name, i == 0);
        put_state_summary(core, writer, &core->states[i]);
    }
    glas_json_put(writer, "}}");
}

static void put_items(glas_writer *writer, const glas_state *state)
{
    glas_json_put(writer, "[");
    for (uint32_t i = 0; i < state->ring.count && i < MAX_ROWS; i++) {
        if (i != 0) glas_json_put(writer, ",");
        state->info->value->to_json(writer, glas_ring_item(state, i));
    }
    glas_json_put(writer, "]");
}

static void put_rights(const glas_core *core, glas_writer *writer, const glas_state *state, uint32_t row)
{
    glas_json_put(writer, ",\"rights\":{");
    for (uint32_t i = 0; i < core->mirrors; i++) {
        if (i != 0) glas_json_put(writer, ",");
        glas_json_put_text(writer, core->peers[i].name);
        glas_json_put(writer, ":");
        glas_json_put_int(writer, ((const int64_t *)glas_table_value(&state->table, row))[i]);
    }
    glas_json_put(writer, "}");
}

static void put_rows(const glas_core *core, glas_writer *writer, uint32_t number)
{
    const glas_state *state = &core->states[number];
    glas_json_put(writer, "[");
    for (uint32_t row = 0; row < state->table.count && row < MAX_ROWS; row++) {
        glas_json_put(writer, row == 0 ? "{" : ",{");
        if (state->table.key != NULL) {
            glas_json_put(writer, "\"key\":");
            state->table.key->to_json(writer, glas_table_key(&state->table, row));
            glas_json_put(writer, ",");
        }
        glas_json_put(writer, "\"value\":");
        put_row_value(core, writer, state, row);
        if (state->info->rule == GLAS_OWNERLESS) {
            if (state->info->kind == GLAS_BOUNDED || state->info->kind == GLAS_DICT_BOUNDED) put_rights(core, writer, state, row);
        } else {
            glas_json_put(writer, ",\"owner\":");
            put_owner(core, writer, glas_owner(core, number, glas_table_key(&state->table, row)));
        }
        glas_json_put(writer, "}");
    }
    glas_json_put(writer, "]");
}

/* Runs every invariant over what is here; writes a list of those that do not hold. */
bool glas_check_invariants(glas_core *core, glas_writer *writer)
{
    bool all = true;
    glas_json_put(writer, "[");
    for (uint32_t i = 0; i < core->app->method_count; i++) {
        const glas_method_info *method = &core->app->methods[i];
        if (method->kind != GLAS_INVARIANT) continue;
        glas_txn_begin(core, method, core->self);
        memset(core->args, 0, method->args->size);
        glas_status status = method->run(&core->txn, core->args, core->result);
        GLAS_ASSERT(core->txn.change_count == 0);
        if (status == GLAS_OK) continue;
        glas_json_put(writer, all ? "" : ",");
        all = false;
        glas_text parts[] = {glas_cstring(method->title), GLAS_T(": "), status == GLAS_ERROR ? core->txn.message : GLAS_T("failed")};
        glas_json_put_text(writer, glas_txn_text(&core->txn, parts, 3));
    }
    glas_json_put(writer, "]");
    return all;
}

static bool is_text(glas_bytes what, const char *text) { return what.n == strlen(text) && memcmp(what.p, text, what.n) == 0; }

static bool put_state(const glas_core *core, glas_writer *writer, glas_bytes what)
{
    if (what.n < 6 || memcmp(what.p, "state ", 6) != 0) return false;
    glas_bytes name = {what.p + 6, what.n - 6};
    for (uint32_t i = 0; i < core->app->state_count; i++) {
        if (!is_text(name, core->app->states[i].name)) continue;
        if (core->app->states[i].kind == GLAS_QUEUE) put_items(writer, &core->states[i]);
        else put_rows(core, writer, i);
        return true;
    }
    return false;
}

void glas_inspect(glas_core *core, glas_bytes what, glas_reply *reply)
{
    glas_call nobody = {.id = reply->call};
    glas_writer *writer = &core->replies;
    writer->n = 0;
    writer->failed = false;
    if (is_text(what, "status")) put_status(core, writer);
    else if (is_text(what, "plan")) glas_json_put(writer, core->app->plan);
    else if (is_text(what, "invariants")) glas_check_invariants(core, writer);
    else if (!put_state(core, writer, what)) {
        glas_reply_abort(core, &nobody, GLAS_WHY_NO_METHOD, GLAS_T("no state of that name; ask for \"status\", \"plan\", \"invariants\" or \"state NAME\""), reply);
        return;
    }
    if (writer->failed) {
        glas_reply_abort(core, &nobody, GLAS_WHY_ERROR, GLAS_T("out of memory"), reply);
        return;
    }
    *reply = (glas_reply){.call = reply->call, .barrier = core->journal_end, .outcome = GLAS_COMMITTED, .status = 200,
                          .content_type = {"application/json", 16}, .body = {(const char *)writer->p, writer->n}};
}
