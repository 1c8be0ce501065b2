/* The driver that driver.h describes: disks and wires in memory, and the order in which mirrors get their turns. */
#include "driver.h"

int64_t driver_fail_after = -1, driver_fail_count = 0;
uint64_t driver_max_calls = 4096;

/* ------------------------------------------------------------------ bytes and memory */

void buffer_add(buffer *to, const void *p, size_t n)
{
    if (n == 0) return;
    if (to->capacity - to->n < n) {
        to->capacity = (to->n + n) * 2;
        to->p = realloc(to->p, to->capacity);
        check(to->p != NULL);
    }
    memcpy(to->p + to->n, p, n);
    to->n += n;
}

void buffer_drop(buffer *from, size_t n)
{
    check(n <= from->n);
    if (n == 0) return;
    memmove(from->p, from->p + n, from->n - n);
    from->n -= n;
}

void buffer_free(buffer *it)
{
    free(it->p);
    *it = (buffer){0};
}

/* Checks the sizes that the core names, and moves every block that grows, so that a stale pointer is seen by the sanitizers. */
static void *resize(void *context, void *old, size_t old_size, size_t new_size)
{
    size_t *held_bytes = context;
    if (new_size > old_size || old == NULL) {
        if (driver_fail_after == 0 && driver_fail_count > 0) return driver_fail_count--, NULL;
        if (driver_fail_after > 0) driver_fail_after--;
    }
    void *fresh = new_size == 0 ? NULL : malloc(new_size);
    check(new_size == 0 || fresh != NULL);
    if (old != NULL) {
        if (fresh != NULL) memcpy(fresh, old, old_size < new_size ? old_size : new_size);
        memset(old, 0xDD, old_size);
        free(old);
    }
    check(*held_bytes >= old_size);
    *held_bytes = *held_bytes - old_size + new_size;
    return fresh;
}

/* ------------------------------------------------------------------ the world */

static const char *const names[MAX_NODES] = {"hq", "shop1", "shop2", "shop3"};

void world_open(world *w, int count)
{
    *w = (world){.count = count, .now = INT64_C(1700000000000000), .next_link = 1, .app = &tiny_app};
    w->answers = calloc(driver_max_calls, sizeof *w->answers);
    check(w->answers != NULL);
    for (int i = 0; i < count; i++) {
        /* hq is the origin; every other mirror is a shop; the last mirror is the depot. */
        uint64_t places = i == 0 ? 1 : 2;
        if (i == count - 1) places |= 4;
        w->mirrors[i] = (glas_mirror){.name = {names[i], strlen(names[i])}, .places = places};
    }
    for (int i = 0; i < count; i++) {
        w->nodes[i].index = i;
        w->nodes[i].config = (glas_config){.mirrors = w->mirrors, .mirror_count = (uint32_t)count, .self = (uint32_t)i, .seed = 42u + (uint64_t)i, .durable = 1,
                                           .max_heap = 64u << 20, .max_text = WORLD_MAX_TEXT, .max_log = 1u << 20, .max_link_buffer = 1u << 20,
                                           .max_waiting = 32, .ping_us = 200000, .silent_us = 5000000};
    }
}

void world_close(world *w)
{
    for (int i = 0; i < w->count; i++) {
        node_stop(w, i);
        buffer_free(&w->nodes[i].journal);
        buffer_free(&w->nodes[i].snapshot);
        buffer_free(&w->nodes[i].next_snapshot);
        free(w->nodes[i].held);
    }
    for (int i = 0; i < MAX_WIRES; i++) {
        buffer_free(&w->wires[i].to[0]);
        buffer_free(&w->wires[i].to[1]);
    }
    free(w->answers);
}

void check_no_leak(const world *w)
{
    for (int i = 0; i < w->count; i++) check(w->nodes[i].memory == 0);
}

static void keep_line(char *to, size_t size, const char *p, size_t n)
{
    if (n >= size) n = size - 1;
    if (n != 0) memcpy(to, p, n);
    to[n] = 0;
}

static void add_log(node *it, const char *p, size_t n)
{
    size_t used = strlen(it->log);
    if (n + used + 2 > sizeof it->log) used = 0;
    if (n + 2 > sizeof it->log) n = sizeof it->log - 2;
    if (n != 0) memcpy(it->log + used, p, n);
    it->log[used + n] = '\n';
    it->log[used + n + 1] = 0;
}

/* ------------------------------------------------------------------ wires */

static wire *wire_of(world *w, uint32_t number, int *end)
{
    for (int i = 0; i < MAX_WIRES; i++)
        for (int k = 0; k < 2; k++)
            if (w->wires[i].used && w->wires[i].numbers[k] == number) return *end = k, &w->wires[i];
    return NULL;
}

wire *world_wire(world *w, int a, int b)
{
    for (int i = 0; i < MAX_WIRES; i++) {
        wire *it = &w->wires[i];
        if (it->used && ((it->ends[0] == a && it->ends[1] == b) || (it->ends[0] == b && it->ends[1] == a))) return it;
    }
    return NULL;
}

static void wire_free(wire *it)
{
    buffer_free(&it->to[0]);
    buffer_free(&it->to[1]);
    *it = (wire){0};
}

static void tell_down(world *w, wire *it, int end)
{
    node *to = &w->nodes[it->ends[end]];
    if (it->closed[end]) return;
    it->closed[end] = true;
    if (to->core != NULL) node_input(w, to, &(glas_input){.kind = GLAS_IN_LINK_DOWN, .link = it->numbers[end]});
}

void world_link(world *w, int from, int to)
{
    if (w->nodes[from].core == NULL || w->nodes[to].core == NULL) return;
    wire *it = NULL;
    for (int i = 0; i < MAX_WIRES && it == NULL; i++)
        if (!w->wires[i].used) it = &w->wires[i];
    check(it != NULL);
    *it = (wire){.used = true, .ends = {from, to}, .numbers = {w->next_link, w->next_link + 1}};
    w->next_link += 2;
    glas_bytes name = w->mirrors[to].name;
    node_input(w, &w->nodes[to], &(glas_input){.kind = GLAS_IN_LINK_UP, .link = it->numbers[1]});
    if (it->used) node_input(w, &w->nodes[from], &(glas_input){.kind = GLAS_IN_LINK_UP, .link = it->numbers[0], .a = name});
}

void world_link_all(world *w)
{
    for (int i = 0; i < w->count; i++)
        for (int k = 0; k < i; k++)
            if (world_wire(w, i, k) == NULL) world_link(w, i, k);
}

void world_cut(world *w, int a, int b)
{
    for (wire *it = world_wire(w, a, b); it != NULL; it = world_wire(w, a, b)) {
        tell_down(w, it, 0);
        tell_down(w, it, 1);
        wire_free(it);
    }
}

void world_deliver(world *w, wire *it, int end, size_t n)
{
    buffer *from = &it->to[end];
    node *to = &w->nodes[it->ends[end]];
    if (n > from->n) n = from->n;
    if (n == 0) return;
    uint8_t *copy = malloc(n); /* its own block, so that reading beyond it is seen */
    check(copy != NULL);
    memcpy(copy, from->p, n);
    buffer_drop(from, n);
    size_t before = w->delivered[to->index];
    w->delivered[to->index] += n;
    if (w->flip_node == to->index && w->flip_at >= before && w->flip_at < before + n) copy[w->flip_at - before] ^= w->flip_with;
    if (!it->closed[end] && to->core != NULL)
        node_input(w, to, &(glas_input){.kind = GLAS_IN_LINK_BYTES, .link = it->numbers[end], .a = {(const char *)copy, n}});
    free(copy);
}

static bool deliver_some(world *w, wire *it, int end)
{
    size_t most = it->to[end].n > it->lag[end] ? it->to[end].n - it->lag[end] : 0;
    if (most == 0) {
        if (it->closed[1 - end] && !it->closed[end] && it->to[end].n == 0) return tell_down(w, it, end), true;
        return false;
    }
    world_deliver(w, it, end, w->chunk != 0 && w->chunk < most ? w->chunk : most);
    return true;
}

/* ------------------------------------------------------------------ outputs */

static void fill_answer(answer *to, const glas_reply *reply, bool typed)
{
    to->outcome = reply->outcome;
    to->reason = reply->reason;
    to->status = reply->status;
    to->barrier = reply->barrier;
    keep_line(to->message, sizeof to->message, reply->message.n != 0 ? reply->message.p : "", reply->message.n);
    keep_line(to->body, sizeof to->body, reply->body.n != 0 ? reply->body.p : "", reply->body.n);
    if (!typed || reply->result == NULL) return;
    const tiny_result *result = reply->result;
    to->n = result->n;
    keep_line(to->text, sizeof to->text, result->text.n != 0 ? result->text.p : "", result->text.n);
}

static void release(world *w, node *it, const held *out)
{
    int end;
    if (out->kind == GLAS_OUT_REPLY) {
        check(!w->answers[out->call].done);
        w->answers[out->call].done = true;
        return;
    }
    wire *to = wire_of(w, out->link, &end);
    if (to == NULL) return;
    if (out->kind == GLAS_OUT_LINK_BYTES) {
        if (!to->closed[1 - end]) buffer_add(&to->to[1 - end], out->bytes, out->n);
        return;
    }
    to->closed[end] = true;
    it->closes++;
}

static void release_held(world *w, node *it)
{
    size_t kept = 0;
    for (size_t i = 0; i < it->held_count; i++) {
        held out = it->held[i];
        bool behind = false; /* those of one link leave in order */
        for (size_t k = 0; k < kept; k++) behind |= out.kind != GLAS_OUT_REPLY && it->held[k].kind != GLAS_OUT_REPLY && it->held[k].link == out.link;
        if (out.barrier > it->synced || behind) {
            it->held[kept++] = out;
            continue;
        }
        release(w, it, &out);
        free(out.bytes);
    }
    it->held_count = kept;
}

static void hold(node *it, int32_t kind, uint32_t link, uint32_t call, uint64_t barrier, const char *p, size_t n)
{
    if (it->held_count == it->held_capacity) {
        it->held_capacity = it->held_capacity == 0 ? 16 : it->held_capacity * 2;
        it->held = realloc(it->held, it->held_capacity * sizeof *it->held);
        check(it->held != NULL);
    }
    uint8_t *copy = n == 0 ? NULL : malloc(n);
    if (n != 0) memcpy(copy, p, n);
    it->held[it->held_count++] = (held){.kind = kind, .link = link, .call = call, .barrier = barrier, .bytes = copy, .n = n};
}

static void take_output(world *w, node *it, const glas_output *out)
{
    switch (out->kind) {
    case GLAS_OUT_JOURNAL:
        buffer_add(&it->journal, out->bytes.p, out->bytes.n);
        check(it->journal_from + it->journal.n == out->position);
        break;
    case GLAS_OUT_SNAPSHOT:
        check(out->barrier == out->position && out->position <= it->journal_from + it->journal.n);
        it->next_snapshot.n = 0;
        buffer_add(&it->next_snapshot, out->bytes.p, out->bytes.n);
        it->next_at = out->position;
        break;
    case GLAS_OUT_LINK_CLOSE:
        keep_line(it->close_reason, sizeof it->close_reason, out->bytes.p, out->bytes.n);
        hold(it, out->kind, out->link, 0, 0, NULL, 0);
        break;
    case GLAS_OUT_LINK_BYTES: hold(it, out->kind, out->link, 0, out->barrier, out->bytes.p, out->bytes.n); break;
    case GLAS_OUT_REPLY:
        check(out->reply.call < w->calls && out->reply.outcome != GLAS_PENDING);
        fill_answer(&w->answers[out->reply.call], &out->reply, true);
        hold(it, out->kind, 0, (uint32_t)out->reply.call, out->barrier, NULL, 0);
        break;
    case GLAS_OUT_LOG: add_log(it, out->bytes.p, out->bytes.n); break;
    case GLAS_OUT_WAKE: it->wake_at = out->at; break;
    default: check(out->kind == GLAS_OUT_TRACE); break;
    }
}

void node_drain(world *w, node *it)
{
    glas_output out;
    while (it->core != NULL && glas_poll(it->core, &out)) take_output(w, it, &out);
    if (it->core != NULL && !it->lazy) node_sync(w, it->index);
    else release_held(w, it);
}

int32_t node_input(world *w, node *it, glas_input *input)
{
    if (it->core == NULL) return 0;
    input->now = w->now;
    int32_t more = glas_step(it->core, input);
    it->more = (more & GLAS_MORE) != 0;
    /* A reply given at once is copied before anything else happens. */
    if (input->reply != NULL && input->call < w->calls && (input->kind == GLAS_IN_CALL || input->kind == GLAS_IN_HTTP || input->kind == GLAS_IN_RPC)) {
        check(input->reply->more == more);
        if (input->reply->outcome != GLAS_PENDING) {
            fill_answer(&w->answers[input->call], input->reply, input->kind == GLAS_IN_CALL);
            hold(it, GLAS_OUT_REPLY, 0, (uint32_t)input->call, input->reply->barrier, NULL, 0);
        }
    }
    if (input->reply == NULL || input->kind != GLAS_IN_INSPECT) node_drain(w, it);
    return more;
}

/* ------------------------------------------------------------------ mirrors */

void node_sync(world *w, int index)
{
    node *it = &w->nodes[index];
    uint64_t end = it->journal_from + it->journal.n;
    if (it->next_snapshot.n != 0) {
        it->snapshot.n = 0;
        buffer_add(&it->snapshot, it->next_snapshot.p, it->next_snapshot.n);
        it->next_snapshot.n = 0;
        it->snapshot_at = it->next_at;
        buffer_drop(&it->journal, (size_t)(it->snapshot_at - it->journal_from));
        it->journal_from = it->snapshot_at;
    }
    bool news = it->synced != end;
    it->synced = end;
    release_held(w, it);
    if (!news || it->core == NULL) return;
    glas_step(it->core, &(glas_input){.kind = GLAS_IN_DISK_DONE, .now = w->now, .position = end});
    node_drain(w, it);
}

static bool loaded(node *it, const glas_input *input)
{
    keep_line(it->load_message, sizeof it->load_message, input->reply->message.n != 0 ? input->reply->message.p : "", input->reply->message.n);
    return input->reply->outcome == GLAS_COMMITTED;
}

bool node_load(world *w, node *it)
{
    char error[200];
    glas_reply reply = {0};
    glas_allocator memory = {&it->memory, resize};
    it->memory = 0;
    it->more = false;
    it->wake_at = INT64_MAX;
    it->config.mirrors = w->mirrors;
    it->core = glas_open(w->app, &it->config, &memory, error, sizeof error);
    if (it->core == NULL) return keep_line(it->load_message, sizeof it->load_message, error, strlen(error)), false;
    if (it->snapshot.n != 0) {
        glas_input input = {.kind = GLAS_IN_SNAPSHOT_LOADED, .now = w->now, .a = {(const char *)it->snapshot.p, it->snapshot.n}, .reply = &reply};
        glas_step(it->core, &input);
        if (!loaded(it, &input)) return false;
    }
    if (it->journal.n != 0) {
        glas_input input = {.kind = GLAS_IN_JOURNAL_LOADED, .now = w->now, .a = {(const char *)it->journal.p, it->journal.n},
                            .position = it->journal_from + it->journal.n, .reply = &reply};
        glas_step(it->core, &input);
        if (!loaded(it, &input)) return false;
    }
    return true;
}

node *node_start(world *w, int index)
{
    node *it = &w->nodes[index];
    glas_reply reply = {0};
    glas_input input = {.kind = GLAS_IN_START, .now = w->now, .reply = &reply};
    check(it->core == NULL);
    if (!node_load(w, it)) return it; /* load_message says why */
    it->incarnations++;
    it->more = (glas_step(it->core, &input) & GLAS_MORE) != 0;
    loaded(it, &input);
    node_drain(w, it);
    return it;
}

void node_stop(world *w, int index)
{
    node *it = &w->nodes[index];
    if (it->core == NULL) return;
    for (size_t i = 0; i < it->held_count; i++) free(it->held[i].bytes);
    it->held_count = 0;
    glas_close(it->core);
    it->core = NULL;
    check(it->memory == 0);
    it->journal.n = it->synced > it->journal_from ? (size_t)(it->synced - it->journal_from) : 0;
    it->next_snapshot.n = 0;
    for (int other = 0; other < w->count; other++)
        if (other != index) world_cut(w, index, other);
}

void node_snapshot(world *w, int index)
{
    node_input(w, &w->nodes[index], &(glas_input){.kind = GLAS_IN_SNAPSHOT});
    node_sync(w, index);
}

/* ------------------------------------------------------------------ time */

static bool move_wires(world *w)
{
    bool moved = false;
    for (int i = 0; i < MAX_WIRES; i++) {
        wire *it = &w->wires[i];
        for (int end = 0; it->used && end < 2; end++) moved |= deliver_some(w, it, end);
        if (it->used && it->closed[0] && it->closed[1]) wire_free(it);
    }
    return moved;
}

void world_settle(world *w)
{
    for (int rounds = 0;; rounds++) {
        check(rounds < 1000000);
        bool moved = move_wires(w);
        for (int i = 0; i < w->count; i++) {
            node *it = &w->nodes[i];
            if (it->core == NULL || (!it->more && it->wake_at > w->now)) continue;
            if (it->wake_at <= w->now) it->wake_at = INT64_MAX;
            node_input(w, it, &(glas_input){.kind = GLAS_IN_TURN});
            moved = true;
        }
        if (!moved) return;
    }
}

void world_pass(world *w, int64_t us)
{
    world_settle(w);
    for (int64_t step; us > 0; us -= step) {
        step = us < 100000 ? us : 100000;
        w->now += step;
        world_settle(w);
    }
}

void world_begin(world *w, int count)
{
    world_open(w, count);
    for (int i = 0; i < count; i++) node_start(w, i);
    world_link_all(w);
    world_pass(w, 300000);
}

void world_end(world *w)
{
    world_close(w);
    check_no_leak(w);
}

/* ------------------------------------------------------------------ calls */

static uint64_t give(world *w, int index, glas_input *input)
{
    glas_reply reply = {0};
    check(w->calls < driver_max_calls);
    input->call = w->calls++;
    /* Every other call asks for its answer at once where there is one. */
    input->reply = input->call % 2 == 0 ? &reply : NULL;
    node_input(w, &w->nodes[index], input);
    return input->call;
}

uint64_t call_text(world *w, int index, uint32_t method, const char *text, int64_t n, int64_t timeout_us)
{
    size_t length = strlen(text);
    char *copy = length == 0 ? NULL : malloc(length); /* exact, so that reading beyond it is seen */
    if (length != 0) memcpy(copy, text, length);
    tiny_args args = {.text = {copy, (uint32_t)length}, .n = n};
    uint64_t call = give(w, index, &(glas_input){.kind = GLAS_IN_CALL, .method = method, .args = &args, .timeout_us = timeout_us});
    free(copy);
    return call;
}

static glas_bytes bytes_of(const char *text) { return (glas_bytes){text, strlen(text)}; }

uint64_t call_http(world *w, int index, const char *verb, const char *path, const char *body, int64_t timeout_us)
{
    return give(w, index, &(glas_input){.kind = GLAS_IN_HTTP, .a = bytes_of(verb), .b = bytes_of(path), .c = bytes_of(body), .timeout_us = timeout_us});
}

uint64_t call_rpc(world *w, int index, const char *method, const char *json, int64_t timeout_us)
{
    return give(w, index, &(glas_input){.kind = GLAS_IN_RPC, .a = bytes_of(method), .b = bytes_of(json), .timeout_us = timeout_us});
}

answer *call_now(world *w, int index, uint32_t method, const char *text, int64_t n)
{
    uint64_t call = call_text(w, index, method, text, n, 1000000);
    world_settle(w);
    return &w->answers[call];
}

answer *call_ok(world *w, int index, uint32_t method, const char *text, int64_t n)
{
    answer *got = call_now(w, index, method, text, n);
    if (!got->done || got->outcome != GLAS_COMMITTED)
        fprintf(stderr, "%s: done %d outcome %d reason %d: %s\n", w->app->methods[method].title, got->done, got->outcome, got->reason, got->message);
    check(got->done && got->outcome == GLAS_COMMITTED);
    return got;
}

/* ------------------------------------------------------------------ looking */

static buffer shown;

const char *node_inspect(world *w, int index, const char *what)
{
    glas_reply reply = {0};
    glas_input input = {.kind = GLAS_IN_INSPECT, .a = bytes_of(what), .reply = &reply};
    node_input(w, &w->nodes[index], &input);
    check(reply.outcome == GLAS_COMMITTED);
    shown.n = 0;
    buffer_add(&shown, reply.body.p, reply.body.n);
    buffer_add(&shown, "", 1);
    node_drain(w, &w->nodes[index]);
    return (const char *)shown.p;
}

uint64_t status_number(world *w, int index, const char *name)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *found = strstr(node_inspect(w, index, "status"), wanted);
    check(found != NULL);
    return strtoull(found + strlen(wanted), NULL, 10);
}

static char *dump(world *w, int index, bool volatile_too)
{
    buffer all = {0};
    char what[100];
    for (uint32_t i = 0; i < w->app->state_count; i++) {
        if (!volatile_too && !w->app->states[i].persistent) continue;
        snprintf(what, sizeof what, "state %s", w->app->states[i].name);
        const char *json = node_inspect(w, index, what);
        buffer_add(&all, what, strlen(what));
        buffer_add(&all, " ", 1);
        buffer_add(&all, json, strlen(json));
        buffer_add(&all, "\n", 1);
    }
    buffer_add(&all, "", 1);
    return (char *)all.p;
}

char *node_dump(world *w, int index) { return dump(w, index, false); }
char *node_dump_all(world *w, int index) { return dump(w, index, true); }
