/* State as methods see it: who owns a unit, reading and changing cells, rows and counters. Knows no entry and no link. */
#include "core.h"

bool glas_mem_state(const glas_core *core, uint32_t state) { return !core->app->states[state].persistent; }

static bool has_one_row(glas_kind kind) { return kind == GLAS_CELL || kind == GLAS_COUNTER || kind == GLAS_BOUNDED; }

static size_t value_size(const glas_core *core, const glas_state_info *info)
{
    if (info->kind == GLAS_COUNTER || info->kind == GLAS_DICT_COUNTER) return sizeof(__int128);
    if (info->kind == GLAS_BOUNDED || info->kind == GLAS_DICT_BOUNDED) return core->mirrors * sizeof(int64_t);
    return info->value->size;
}

/* The one mirror at a place; the configuration was checked to have exactly one where it matters. */
static uint32_t mirror_at(const glas_core *core, uint32_t place)
{
    for (uint32_t i = 0; i < core->mirrors; i++)
        if (core->peers[i].places >> place & 1) return i;
    return core->config.origin;
}

static uint32_t static_owner(const glas_core *core, const glas_state_info *info)
{
    switch (info->rule) {
    case GLAS_AT_PLACE: return mirror_at(core, info->place);
    case GLAS_AT_ORIGIN: return core->config.origin;
    case GLAS_BY_KEY:
    case GLAS_OWNERLESS: break;
    }
    return GLAS_NO_MIRROR;
}

bool glas_states_open(glas_core *core)
{
    for (uint32_t i = 0; i < core->app->state_count; i++) {
        glas_state *state = &core->states[i];
        state->info = &core->app->states[i];
        state->owner = static_owner(core, state->info);
        state->all_here = state->owner == core->self || core->mirrors == 1;
        state->value_size = value_size(core, state->info);
        glas_table_init(&state->table, state->info->key, state->value_size, core->config.seed);
        if (has_one_row(state->info->kind) && glas_table_add(&core->heap, &state->table, NULL) == GLAS_NO_ROW) return false;
    }
    return true;
}

void glas_states_close(glas_core *core)
{
    for (uint32_t i = 0; core->states != NULL && i < core->app->state_count; i++) {
        glas_state *state = &core->states[i];
        if (state->info == NULL) break;
        const glas_type *type = state->info->value;
        for (uint32_t row = 0; type != NULL && row < state->table.count; row++) glas_value_drop(core, type, glas_table_value(&state->table, row));
        glas_table_close(&core->heap, &state->table);
        if (state->info->kind == GLAS_QUEUE) glas_ring_close(&core->heap, state);
    }
}

uint32_t glas_owner(const glas_core *core, uint32_t number, const void *key)
{
    const glas_state *state = &core->states[number];
    if (state->owner != GLAS_NO_MIRROR || state->info->rule == GLAS_OWNERLESS) return state->owner;
    glas_text name = state->info->owner_name(key);
    uint64_t place = UINT64_C(1) << state->info->place;
    const glas_peer *self = &core->peers[core->self];
    if ((self->places & place) && glas_text_equal(self->name, name)) return core->self;
    for (uint32_t i = 0; i < core->mirrors; i++)
        if ((core->peers[i].places & place) && glas_text_equal(core->peers[i].name, name)) return i;
    return core->config.origin; /* docs/language.md: a key that names no mirror lives at the origin */
}

/* ------------------------------------------------------------------ missing a unit */

static glas_status miss(glas_txn *txn, uint32_t number, const void *key, uint32_t owner, glas_text why)
{
    const glas_state *state = &txn->core->states[number];
    glas_text shown = {NULL, 0};
    if (key != NULL && glas_json_write(txn, state->info->key, key, &shown) != GLAS_OK) return GLAS_ERROR;
    txn->missed_owner = owner;
    bool keyed = key != NULL;
    glas_text parts[] = {GLAS_T("needs "), glas_cstring(state->info->name), keyed ? GLAS_T("[") : (glas_text){NULL, 0}, shown,
                         keyed ? GLAS_T("]") : (glas_text){NULL, 0}, why, txn->core->peers[owner].name};
    txn->message = glas_txn_text(txn, parts, 7);
    return GLAS_MISS;
}

/* May the value be read here: as owner, or as a replica that is young enough (`@mirror stale D`)? */
static glas_status may_read(glas_txn *txn, uint32_t number, const void *key)
{
    const glas_core *core = txn->core;
    const glas_state_info *info = core->states[number].info;
    if (core->states[number].all_here) return GLAS_OK;
    uint32_t owner = glas_owner(core, number, key);
    if (owner == core->self || txn->invariant) return GLAS_OK;
    if (info->stale_us == 0) return miss(txn, number, key, owner, GLAS_T(", owned by "));
    int64_t fresh = core->peers[owner].fresh;
    if (fresh != INT64_MIN && core->clock - fresh <= info->stale_us) return GLAS_OK;
    return miss(txn, number, key, owner, GLAS_T(", whose copy here is older than allowed, owned by "));
}

static glas_status may_write(glas_txn *txn, uint32_t number, const void *key)
{
    if (txn->core->states[number].all_here) return GLAS_OK;
    uint32_t owner = glas_owner(txn->core, number, key);
    return owner == txn->core->self ? GLAS_OK : miss(txn, number, key, owner, GLAS_T(", owned by "));
}

/* ------------------------------------------------------------------ cells and rows */

glas_status glas_cell_get(glas_txn *txn, uint32_t number, void *value)
{
    glas_status status = may_read(txn, number, NULL);
    if (status != GLAS_OK) return status;
    const glas_state *state = &txn->core->states[number];
    memcpy(value, glas_table_value(&state->table, 0), state->value_size);
    return GLAS_OK;
}

glas_status glas_row_get(glas_txn *txn, uint32_t number, const void *key, void *value)
{
    glas_state *state = &txn->core->states[number];
    uint32_t row = glas_table_find(&state->table, key);
    /* A row that is here and has no replicas is owned here: no need to ask whose it is. */
    if (row == GLAS_NO_ROW || (state->info->stale_us != 0 && !state->all_here)) {
        glas_status status = may_read(txn, number, key);
        if (status != GLAS_OK) return status;
        if (row == GLAS_NO_ROW) return GLAS_FAIL;
    }
    memcpy(value, glas_table_value(&state->table, row), state->value_size);
    state->recent[1] = state->recent[0];
    state->recent[0] = row;
    return GLAS_OK;
}

static uint32_t find_row(const glas_state *state, const void *key)
{
    const glas_table *table = &state->table;
    for (uint32_t i = 0; table->key != NULL && i < 2; i++)
        if (state->recent[i] < table->count && table->key->equal(glas_table_key(table, state->recent[i]), key)) return state->recent[i];
    return glas_table_find(table, key);
}

bool glas_value_set(glas_txn *txn, uint32_t number, const void *key, const void *value)
{
    glas_core *core = txn->core;
    glas_state *state = &core->states[number];
    const glas_type *type = state->info->value;
    uint32_t row = find_row(state, key);
    bool fresh = row == GLAS_NO_ROW;
    if (fresh) row = glas_table_add(&core->heap, &state->table, key);
    if (row == GLAS_NO_ROW) return false;
    glas_change *change = glas_txn_change(txn, fresh ? GLAS_ROW_NEW : GLAS_ROW_SET, number, row);
    void *at = glas_table_value(&state->table, row);
    if (change != NULL && !fresh) change->old = glas_txn_keep(txn, at, state->value_size);
    bool ok = change != NULL && (fresh || change->old != NULL);
    if (ok && type->plain) memcpy(at, value, type->size);
    else if (ok && !type->copy(&core->heap, at, value)) {
        if (!fresh) memcpy(at, change->old, state->value_size); /* a failed copy holds nothing */
        ok = false;
    }
    if (ok) return true;
    if (change != NULL) txn->change_count--;
    if (fresh) {
        memset(at, 0, state->value_size);
        glas_table_take_back(&core->heap, &state->table);
    }
    return false;
}

glas_status glas_cell_set(glas_txn *txn, uint32_t number, const void *value) { return glas_row_set(txn, number, NULL, value); }

glas_status glas_row_set(glas_txn *txn, uint32_t number, const void *key, const void *value)
{
    const glas_state *state = &txn->core->states[number];
    glas_status status = may_write(txn, number, state->info->key == NULL ? NULL : key);
    if (status != GLAS_OK) return status;
    return glas_value_set(txn, number, key, value) ? GLAS_OK : glas_no_memory(txn);
}

/* ------------------------------------------------------------------ counters */

/* The row of a counter, made where absent. */
static uint32_t counter_row(glas_txn *txn, uint32_t number, const void *key)
{
    glas_core *core = txn->core;
    glas_state *state = &core->states[number];
    uint32_t row = glas_table_find(&state->table, key);
    if (row != GLAS_NO_ROW) return row;
    row = glas_table_add(&core->heap, &state->table, key);
    if (row == GLAS_NO_ROW || glas_txn_change(txn, GLAS_ROW_NEW, number, row) != NULL) return row;
    glas_table_take_back(&core->heap, &state->table);
    return GLAS_NO_ROW;
}

bool glas_counter_apply(glas_txn *txn, uint32_t number, const void *key, int64_t delta)
{
    uint32_t row = counter_row(txn, number, key);
    glas_change *change = row == GLAS_NO_ROW ? NULL : glas_txn_change(txn, GLAS_ADDED, number, row);
    if (change == NULL) return false;
    change->delta = delta;
    *(__int128 *)glas_table_value(&txn->core->states[number].table, row) += delta;
    return true;
}

static glas_status to_int(glas_txn *txn, __int128 sum, int64_t *value, glas_where where)
{
    if (sum < INT64_MIN || sum > INT64_MAX) return glas_error(txn, where, GLAS_T("Int overflow: the sum does not fit in 64 bits"));
    *value = (int64_t)sum;
    return GLAS_OK;
}

glas_status glas_counter_get(glas_txn *txn, uint32_t number, const void *key, int64_t *value, glas_where where)
{
    const glas_table *table = &txn->core->states[number].table;
    uint32_t row = glas_table_find(table, key);
    return to_int(txn, row == GLAS_NO_ROW ? 0 : *(__int128 *)glas_table_value(table, row), value, where);
}

/* What others add meanwhile may still bring the sum beyond 64 bits: then reading it is the error. */
glas_status glas_counter_add(glas_txn *txn, uint32_t number, const void *key, int64_t delta, glas_where where)
{
    const glas_table *table = &txn->core->states[number].table;
    uint32_t row = glas_table_find(table, key);
    int64_t sum;
    glas_status status = to_int(txn, (row == GLAS_NO_ROW ? 0 : *(__int128 *)glas_table_value(table, row)) + delta, &sum, where);
    if (status != GLAS_OK) return status;
    return glas_counter_apply(txn, number, key, delta) ? GLAS_OK : glas_no_memory(txn);
}

glas_status glas_bounded_get(glas_txn *txn, uint32_t number, const void *key, int64_t *value, glas_where where)
{
    const glas_table *table = &txn->core->states[number].table;
    uint32_t row = glas_table_find(table, key);
    __int128 sum = 0;
    for (uint32_t i = 0; row != GLAS_NO_ROW && i < txn->core->mirrors; i++) sum += ((int64_t *)glas_table_value(table, row))[i];
    return to_int(txn, sum, value, where);
}

bool glas_bounded_apply(glas_txn *txn, uint32_t number, const void *key, uint32_t mirror, int64_t delta, bool *enough)
{
    const glas_table *table = &txn->core->states[number].table;
    uint32_t row = glas_table_find(table, key);
    int64_t rights = row == GLAS_NO_ROW ? 0 : ((int64_t *)glas_table_value(table, row))[mirror];
    *enough = !__builtin_add_overflow(rights, delta, &rights) && rights >= 0;
    if (!*enough) return true;
    row = counter_row(txn, number, key);
    glas_change *change = row == GLAS_NO_ROW ? NULL : glas_txn_change(txn, GLAS_GAINED, number, row);
    if (change == NULL) return false;
    change->delta = delta;
    change->mirror = mirror;
    ((int64_t *)glas_table_value(table, row))[mirror] = rights;
    return true;
}

/* docs/consistency.md 4: rights are used where they were made; too few of them here is a failure, not an error. */
glas_status glas_bounded_add(glas_txn *txn, uint32_t number, const void *key, int64_t delta, glas_where where)
{
    bool enough;
    if (!glas_bounded_apply(txn, number, key, txn->core->self, delta, &enough)) return glas_no_memory(txn);
    if (enough) return GLAS_OK;
    return delta < 0 ? GLAS_FAIL : glas_error(txn, where, GLAS_T("Int overflow: the rights do not fit in 64 bits"));
}

/* ------------------------------------------------------------------ queues */

glas_status glas_queue_read(glas_txn *txn, uint32_t number, void *value)
{
    glas_state *state = &txn->core->states[number];
    if (state->owner != txn->core->self) return miss(txn, number, NULL, state->owner, GLAS_T(", whose read end is at "));
    if (state->ring.count == 0) return GLAS_WAIT;
    if (glas_txn_change(txn, GLAS_TOOK, number, 0) == NULL) return glas_no_memory(txn);
    memcpy(value, glas_ring_item(state, 0), state->info->value->size);
    glas_ring_take(state);
    return GLAS_OK;
}

glas_status glas_queue_write(glas_txn *txn, uint32_t number, const void *value)
{
    glas_core *core = txn->core;
    glas_state *state = &core->states[number];
    bool here = state->owner == core->self;
    void *kept = glas_txn_keep(txn, value, state->info->value->size);
    glas_change *change = kept == NULL ? NULL : glas_txn_change(txn, GLAS_WROTE, number, 0);
    if (change == NULL) return glas_no_memory(txn);
    change->old = kept;
    change->here = here;
    if (!here || glas_ring_push(&core->heap, state, value)) return GLAS_OK;
    txn->change_count--;
    return glas_no_memory(txn);
}

/* ------------------------------------------------------------------ all rows, and any row */

static int compare_rows(const glas_table *table, uint32_t a, uint32_t b)
{
    return table->key->compare(glas_table_key(table, a), glas_table_key(table, b));
}

/* Heap sort (Williams 1964): in place, no recursion, never quadratic. */
static void sift(const glas_table *table, uint32_t *order, uint32_t from, uint32_t count)
{
    for (uint32_t child; (child = 2 * from + 1) < count; from = child) {
        if (child + 1 < count && compare_rows(table, order[child], order[child + 1]) < 0) child++;
        if (compare_rows(table, order[from], order[child]) >= 0) return;
        uint32_t moved = order[from];
        order[from] = order[child];
        order[child] = moved;
    }
}

static void sort_rows(const glas_table *table, uint32_t *order, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--) sift(table, order, i - 1, count);
    for (uint32_t end = count; end > 1; end--) {
        uint32_t last = order[end - 1];
        order[end - 1] = order[0];
        order[0] = last;
        sift(table, order, 0, end - 1);
    }
}

/* docs/consistency.md 7: iterating a whole dict is exact, and so needs all its rows. */
static glas_status needs_all_rows(glas_txn *txn, uint32_t number)
{
    const glas_core *core = txn->core;
    const glas_state *state = &core->states[number];
    if (txn->invariant || core->mirrors == 1 || state->info->rule == GLAS_OWNERLESS) return GLAS_OK;
    if (state->owner != GLAS_NO_MIRROR) return may_read(txn, number, NULL);
    for (uint32_t i = 0; i < core->mirrors; i++) /* keys that name no mirror of the place live at the origin */
        if (i != core->self && ((core->peers[i].places >> state->info->place & 1) || i == core->config.origin)) return miss(txn, number, NULL, i, GLAS_T(", rows of which are owned by "));
    return GLAS_OK;
}

glas_status glas_rows_begin(glas_txn *txn, uint32_t number, glas_rows *rows)
{
    const glas_table *table = &txn->core->states[number].table;
    glas_status status = needs_all_rows(txn, number);
    if (status != GLAS_OK) return status;
    uint32_t *order = glas_arena_take(&txn->arena, table->count * sizeof *order + 1); /* numbers: rows move when a table grows */
    if (order == NULL) return glas_no_memory(txn);
    for (uint32_t row = 0; row < table->count; row++) order[row] = row;
    sort_rows(table, order, table->count);
    *rows = (glas_rows){.order = (const void *const *)(const void *)order, .count = table->count, .state = number, .txn = txn};
    return GLAS_OK;
}

static void copy_row_value(const glas_core *core, const glas_state *state, const uint8_t *row, void *value)
{
    const void *at = row + state->table.value_at;
    if (state->info->value != NULL) {
        memcpy(value, at, state->value_size);
        return;
    }
    __int128 sum = 0; /* of a dict of counters or bounded: what this mirror knows, held within 64 bits */
    if (state->info->kind == GLAS_DICT_COUNTER) sum = *(const __int128 *)at;
    else
        for (uint32_t i = 0; i < core->mirrors; i++) sum += ((const int64_t *)at)[i];
    int64_t clamped = sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
    memcpy(value, &clamped, sizeof clamped);
}

bool glas_rows_next(glas_rows *rows, void *key, void *value)
{
    if (rows->next >= rows->count) return false;
    const glas_state *state = &rows->txn->core->states[rows->state];
    const uint32_t *order = (const uint32_t *)(const void *)rows->order;
    uint32_t row = order[rows->next++];
    memcpy(key, glas_table_key(&state->table, row), state->info->key->size);
    copy_row_value(rows->txn->core, state, (const uint8_t *)glas_table_row(&state->table, row), value);
    return true;
}

glas_status glas_choose_begin(glas_txn *txn, uint32_t number, uint32_t site, glas_choice *choice)
{
    const glas_table *table = &txn->core->states[number].table;
    uint32_t next = txn->core->cursors[site] + 1;
    *choice = (glas_choice){.state = number, .site = site, .next = next < table->count ? next : 0, .left = table->count, .txn = txn};
    return GLAS_OK;
}

bool glas_choose_next(glas_choice *choice, void *key, void *value)
{
    const glas_core *core = choice->txn->core;
    const glas_state *state = &core->states[choice->state];
    while (choice->left > 0) {
        uint32_t row = choice->next;
        choice->next = row + 1 < state->table.count ? row + 1 : 0;
        choice->left--;
        void *at = glas_table_key(&state->table, row);
        if (state->info->rule != GLAS_OWNERLESS && state->info->stale_us != 0 && glas_owner(core, choice->state, at) != core->self) continue;
        memcpy(key, at, state->info->key->size);
        copy_row_value(core, state, (const uint8_t *)glas_table_row(&state->table, row), value);
        return true;
    }
    return false;
}

void glas_choose_take(glas_choice *choice)
{
    uint32_t count = choice->txn->core->states[choice->state].table.count;
    choice->txn->core->cursors[choice->site] = (choice->next + count - 1) % count;
}
