/* The form of an entry: its method's number, which of the method's effects there are, then those, in the plan's order.
 *
 * ARCHITECTURE.md, the protocol: order and presence are fixed by the app's tables; no names, no types, no counts where the plan knows them. Times in
 * values are distances from the entry's time, which reader and writer have as base. Knows no log and no link.
 */
#include "core.h"

static bool is_counter(glas_kind kind)
{
    return kind == GLAS_COUNTER || kind == GLAS_BOUNDED || kind == GLAS_DICT_COUNTER || kind == GLAS_DICT_BOUNDED;
}

bool glas_entry_wants(const glas_core *core, uint32_t number, glas_filter filter)
{
    const glas_state *state = &core->states[number];
    if (filter.to == filter.from) return false;
    if (state->info->kind == GLAS_QUEUE) return state->owner == filter.to;
    return state->info->rule == GLAS_OWNERLESS || state->info->stale_us != 0;
}

static bool needed_elsewhere(const glas_core *core, const glas_effect *effect)
{
    const glas_state *state = &core->states[effect->state];
    if (core->mirrors == 1 || effect->take) return false;
    if (state->info->kind == GLAS_QUEUE) return state->owner != core->self;
    return state->info->rule == GLAS_OWNERLESS || state->info->stale_us != 0;
}

static bool wants(const glas_core *core, const glas_effect *effect, glas_filter filter)
{
    return !effect->take && glas_entry_wants(core, effect->state, filter);
}

/* ------------------------------------------------------------------ writing the running transaction */

static bool matches(const glas_change *change, const glas_effect *effect, bool queue)
{
    if (change->state != effect->state) return false;
    return !queue || (change->kind == GLAS_TOOK) == effect->take;
}

/* Is this change the one that stands for its row: the first that this pass (`mark`) sees, and not a mere making of a counter's row? */
static bool first_of_row(glas_core *core, const glas_change *change, uint64_t mark)
{
    glas_row *row = glas_table_row(&core->states[change->state].table, change->row);
    if (row->mark == mark) return false;
    row->mark = mark;
    return true;
}

static void put_row(const glas_core *core, glas_writer *writer, const glas_change *change)
{
    const glas_state *state = &core->states[change->state];
    if (state->info->key != NULL) state->info->key->put(writer, glas_table_key(&state->table, change->row));
    state->info->value->put(writer, glas_table_value(&state->table, change->row));
}

static void put_delta(const glas_core *core, glas_writer *writer, const glas_change *change, int64_t delta)
{
    const glas_state *state = &core->states[change->state];
    if (state->info->key != NULL) state->info->key->put(writer, glas_table_key(&state->table, change->row));
    glas_put_int(writer, delta);
}

/* Increments of one row that follow each other are summed (ARCHITECTURE.md, the protocol). Returns the number of sums; writes them where asked. */
static uint64_t put_deltas(const glas_core *core, glas_writer *writer, const glas_effect *effect, bool write)
{
    const glas_txn *txn = &core->txn;
    const glas_change *open = NULL;
    int64_t sum = 0;
    uint64_t count = 0;
    for (uint32_t i = 0; i < txn->change_count; i++) {
        const glas_change *change = &txn->changes[i];
        if (change->state != effect->state || change->kind == GLAS_ROW_NEW) continue;
        int64_t together;
        if (open != NULL && open->row == change->row && !__builtin_add_overflow(sum, change->delta, &together)) {
            sum = together;
            continue;
        }
        if (open != NULL && write) put_delta(core, writer, open, sum);
        open = change;
        sum = change->delta;
        count++;
    }
    if (open != NULL && write) put_delta(core, writer, open, sum);
    return count;
}

static uint64_t put_rows(glas_core *core, glas_writer *writer, const glas_effect *effect, uint64_t mark, bool write)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < core->txn.change_count; i++) {
        const glas_change *change = &core->txn.changes[i];
        if (change->state != effect->state || !first_of_row(core, change, mark)) continue;
        if (write) put_row(core, writer, change);
        count++;
    }
    return count;
}

static uint64_t put_items(const glas_core *core, glas_writer *writer, const glas_effect *effect, bool write)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < core->txn.change_count; i++) {
        const glas_change *change = &core->txn.changes[i];
        if (!matches(change, effect, true)) continue;
        if (write && !effect->take) core->states[effect->state].info->value->put(writer, change->old);
        count++;
    }
    return count;
}

static uint64_t put_effect(glas_core *core, glas_writer *writer, const glas_effect *effect, bool write)
{
    glas_kind kind = core->states[effect->state].info->kind;
    if (kind == GLAS_QUEUE) return put_items(core, writer, effect, write);
    if (is_counter(kind)) return put_deltas(core, writer, effect, write);
    return put_rows(core, writer, effect, core->txn.serial * 2 + write, write);
}

static bool has_count(const glas_core *core, const glas_effect *effect)
{
    return !effect->once && core->states[effect->state].info->kind != GLAS_CELL;
}

void glas_entry_put(glas_core *core, glas_writer *writer, bool *kept, bool *needed)
{
    const glas_method_info *method = core->txn.method;
    uint64_t present = 0, counts[64];
    *needed = false;
    for (uint32_t i = 0; i < method->effect_count; i++) {
        const glas_effect *effect = &method->effects[i];
        bool elsewhere = needed_elsewhere(core, effect);
        if (!elsewhere && glas_mem_state(core, effect->state)) continue;
        counts[i] = put_effect(core, writer, effect, false);
        if (counts[i] == 0) continue;
        GLAS_ASSERT(counts[i] == 1 || has_count(core, effect));
        present |= UINT64_C(1) << i;
        *needed |= elsewhere;
    }
    *kept = present != 0;
    glas_put_uint(writer, (uint64_t)(method - core->app->methods));
    glas_put_uint(writer, present);
    for (uint32_t i = 0; i < method->effect_count; i++) {
        if (!(present >> i & 1)) continue;
        if (has_count(core, &method->effects[i])) glas_put_uint(writer, counts[i]);
        put_effect(core, writer, &method->effects[i], true);
    }
}

/* ------------------------------------------------------------------ reading */

/* An effect's item as read: which fields are set depends on the state's kind. */
typedef struct item {
    void *key, *value; /* in the wire arena */
    int64_t delta;
} item;

static bool take_value(glas_core *core, glas_reader *reader, const glas_type *type, void **value)
{
    *value = glas_arena_take(&core->wire_arena, type->size);
    if (*value == NULL) return false; /* not `bad`: memory, not bytes */
    memset(*value, 0, type->size);
    return type->take(reader, *value);
}

static bool take_item(glas_core *core, glas_reader *reader, const glas_effect *effect, item *it)
{
    const glas_state_info *info = core->states[effect->state].info;
    *it = (item){0};
    if (effect->take) return true;
    if (info->key != NULL && !take_value(core, reader, info->key, &it->key)) return false;
    if (is_counter(info->kind)) return glas_take_int(reader, &it->delta);
    return take_value(core, reader, info->value, &it->value);
}

static bool take_head(const glas_core *core, glas_reader *reader, const glas_method_info **method, uint64_t *present)
{
    uint64_t number;
    if (!glas_take_uint(reader, core->app->method_count - 1, &number)) return false;
    *method = &core->app->methods[number];
    uint64_t all = (*method)->effect_count == 64 ? UINT64_MAX : (UINT64_C(1) << (*method)->effect_count) - 1;
    return glas_take_uint(reader, all, present);
}

/* Each item takes at least a byte, but for items taken from a queue and values of no width: those are bounded by a million. */
static bool take_count(const glas_core *core, glas_reader *reader, const glas_effect *effect, uint64_t *count)
{
    *count = 1;
    if (!has_count(core, effect)) return true;
    return glas_take_uint(reader, UINT64_C(1) << 20, count) && (*count > 0 || glas_take_bad(reader));
}

bool glas_entry_filter(glas_core *core, glas_reader *reader, glas_writer *writer, glas_filter filter, bool *any)
{
    const glas_method_info *method;
    uint64_t present, kept = 0;
    glas_arena_reset(&core->wire_arena);
    if (!take_head(core, reader, &method, &present)) return false;
    for (uint32_t i = 0; i < method->effect_count; i++)
        if ((present >> i & 1) && wants(core, &method->effects[i], filter)) kept |= UINT64_C(1) << i;
    *any = kept != 0;
    glas_put_uint(writer, (uint64_t)(method - core->app->methods));
    glas_put_uint(writer, kept);
    for (uint32_t i = 0; i < method->effect_count; i++) {
        size_t start = reader->at;
        uint64_t count;
        item it;
        if (!(present >> i & 1)) continue;
        if (!take_count(core, reader, &method->effects[i], &count)) return false;
        for (uint64_t k = 0; k < count; k++)
            if (!take_item(core, reader, &method->effects[i], &it)) return false;
        if (kept >> i & 1) glas_put_bytes(writer, reader->p + start, reader->at - start);
    }
    return true;
}

/* ------------------------------------------------------------------ applying */

static glas_applied apply_row(glas_core *core, glas_reader *reader, uint32_t state, const item *it, uint32_t from)
{
    if (glas_owner(core, state, it->key) != from) return glas_take_bad(reader), GLAS_APPLY_BAD; /* only an owner writes */
    return glas_value_set(&core->txn, state, it->key, it->value) ? GLAS_APPLIED : GLAS_APPLY_NO_MEMORY;
}

static glas_applied apply_gain(glas_core *core, glas_reader *reader, uint32_t state, const item *it, uint32_t from)
{
    bool enough;
    if (!glas_bounded_apply(&core->txn, state, it->key, from, it->delta, &enough)) return GLAS_APPLY_NO_MEMORY;
    return enough ? GLAS_APPLIED : (glas_take_bad(reader), GLAS_APPLY_BAD);
}

/* Own items come back in recovery only; those for another mirror's read end were and will be sent to it. */
static glas_applied apply_written(glas_core *core, uint32_t number, const item *it)
{
    glas_txn *txn = &core->txn;
    glas_state *state = &core->states[number];
    if (state->owner != core->self) return GLAS_APPLIED;
    glas_change *change = glas_txn_change(txn, GLAS_WROTE, number, 0);
    if (change == NULL) return GLAS_APPLY_NO_MEMORY;
    change->here = true;
    change->old = it->value;
    if (glas_ring_push(&core->heap, state, it->value)) return GLAS_APPLIED;
    txn->change_count--;
    return GLAS_APPLY_NO_MEMORY;
}

static glas_applied apply_taken(glas_core *core, glas_reader *reader, uint32_t number, uint64_t count)
{
    glas_state *state = &core->states[number];
    if (!core->running && glas_mem_state(core, number)) return GLAS_APPLIED;
    if (state->ring.count < count) return glas_take_bad(reader), GLAS_APPLY_BAD;
    for (uint64_t i = 0; i < count; i++) {
        if (glas_txn_change(&core->txn, GLAS_TOOK, number, 0) == NULL) return GLAS_APPLY_NO_MEMORY;
        glas_ring_take(state);
    }
    return GLAS_APPLIED;
}

static glas_applied apply_item(glas_core *core, glas_reader *reader, const glas_effect *effect, const item *it, uint32_t from)
{
    const glas_state *state = &core->states[effect->state];
    if (!core->running && glas_mem_state(core, effect->state)) return GLAS_APPLIED; /* mem. starts empty with its owner */
    switch (state->info->kind) {
    case GLAS_CELL:
    case GLAS_DICT: return apply_row(core, reader, effect->state, it, from);
    case GLAS_COUNTER:
    case GLAS_DICT_COUNTER: return glas_counter_apply(&core->txn, effect->state, it->key, it->delta) ? GLAS_APPLIED : GLAS_APPLY_NO_MEMORY;
    case GLAS_BOUNDED:
    case GLAS_DICT_BOUNDED: return apply_gain(core, reader, effect->state, it, from);
    case GLAS_QUEUE: break;
    }
    return apply_written(core, effect->state, it);
}

static glas_applied apply_effect(glas_core *core, glas_reader *reader, const glas_effect *effect, uint32_t from, uint64_t *taken)
{
    uint64_t count;
    *taken = 0;
    if (!take_count(core, reader, effect, &count)) return GLAS_APPLY_BAD;
    if (effect->take) *taken = count;
    for (uint64_t k = 0; k < count && !effect->take; k++) {
        item it;
        if (!take_item(core, reader, effect, &it)) return reader->bad ? GLAS_APPLY_BAD : GLAS_APPLY_NO_MEMORY;
        glas_applied applied = apply_item(core, reader, effect, &it, from);
        if (applied != GLAS_APPLIED) return applied;
    }
    return GLAS_APPLIED;
}

glas_applied glas_entry_apply(glas_core *core, glas_reader *reader, uint32_t from, bool *needed)
{
    const glas_method_info *method;
    uint64_t present, taken[64];
    glas_arena_reset(&core->wire_arena);
    *needed = false;
    if (!take_head(core, reader, &method, &present)) return GLAS_APPLY_BAD;
    for (uint32_t i = 0; i < method->effect_count; i++) {
        const glas_effect *effect = &method->effects[i];
        if (!(present >> i & 1)) continue;
        *needed |= needed_elsewhere(core, effect);
        if (from != core->self && !wants(core, effect, (glas_filter){.to = core->self, .from = from})) return glas_take_bad(reader), GLAS_APPLY_BAD;
        glas_applied applied = apply_effect(core, reader, effect, from, &taken[i]);
        if (applied != GLAS_APPLIED) return applied;
    }
    /* A transaction may have taken what it wrote itself: behind its writes, everything that it took is there, and in the same order. */
    for (uint32_t i = 0; i < method->effect_count; i++) {
        glas_applied applied = present >> i & 1 ? apply_taken(core, reader, method->effects[i].state, taken[i]) : GLAS_APPLIED;
        if (applied != GLAS_APPLIED) return applied;
    }
    return GLAS_APPLIED;
}
