/* Several mirrors: hand-over exactly once, shipped calls, stale replicas, causality, refusals, full logs, and random faults over it all. */
#include "driver.h"

static world w;

static bool shows(int index, const char *state, const char *part)
{
    char what[100];
    snprintf(what, sizeof what, "state %s", state);
    return strstr(node_inspect(&w, index, what), part) != NULL;
}

/* ------------------------------------------------------------------ shipped calls */

static void test_cut_off(void)
{
    world_begin(&w, 2);
    world_cut(&w, 0, 1);
    answer *got = call_now(&w, 1, M_TITLE, "x", 0);
    check(got->reason == GLAS_WHY_REFUSED && strstr(got->message, "db.title") != NULL && strstr(got->message, "owned by hq") != NULL && strstr(got->message, "cut off") != NULL);
    got = call_now(&w, 0, M_GET_STOCK, "shop1/tea", 0);
    check(got->reason == GLAS_WHY_REFUSED && strstr(got->message, "db.stock[\"shop1/tea\"], owned by shop1") != NULL);
    call_ok(&w, 1, M_STOCK, "shop1/tea", 3); /* what is here goes on */
    call_ok(&w, 1, M_SELL, "shop1/tea", 1);
    world_link(&w, 0, 1);
    world_pass(&w, 300000);
    check(call_ok(&w, 0, M_GET_STOCK, "shop1/tea", 0)->n == 2 && shows(0, "db.booked", "shop1/tea"));
    got = call_now(&w, 0, M_BOTH, "shop1/tea", 1);
    check(got->reason == GLAS_WHY_REFUSED && strstr(got->message, "two-phase commit") != NULL);
    world_end(&w);
}

/* The request arrives and is carried out; the link breaks before the answer is back. */
static void test_repeated(void)
{
    static const struct { int from, to; uint32_t method; const char *text; int64_t n; } calls[] = {
        {1, 0, M_POKE, "", 5}, {0, 1, M_SELL, "shop1/tea", 2}, {1, 0, M_TITLE, "title", 0}};
    for (size_t i = 0; i < 3; i++)
        for (int crash = 0; crash < 2; crash++) {
            if (crash && calls[i].method == M_POKE) continue; /* mem. state does not survive */
            world_begin(&w, 2);
            call_ok(&w, 1, M_STOCK, "shop1/tea", 9);
            uint64_t call = call_text(&w, calls[i].from, calls[i].method, calls[i].text, calls[i].n, 60000000);
            for (int again = 0; again < 3; again++) {
                wire *it = world_wire(&w, 0, 1);
                int end = it->ends[0] == calls[i].to ? 0 : 1;
                it->lag[1 - end] = SIZE_MAX; /* nothing comes back */
                world_settle(&w);
                check(!w.answers[call].done);
                world_cut(&w, 0, 1);
                if (crash) node_stop(&w, calls[i].to), node_start(&w, calls[i].to);
                if (again % 2) node_snapshot(&w, calls[i].to);
                world_link(&w, again % 2, 1 - again % 2);
            }
            world_pass(&w, 500000);
            check(w.answers[call].done && w.answers[call].outcome == GLAS_COMMITTED);
            if (calls[i].method == M_SELL) check(w.answers[call].n == 7 && call_ok(&w, 0, M_GET_STOCK, "shop1/tea", 0)->n == 7 && shows(0, "db.revenue", "\"value\":2"));
            if (calls[i].method == M_POKE) check(w.answers[call].n == 5 && shows(0, "mem.memo", "\"value\":5"));
            world_end(&w);
        }
}

static void test_unknown(void)
{
    world_begin(&w, 2);
    uint64_t call = call_text(&w, 1, M_TITLE, "maybe", 0, 500000);
    world_cut(&w, 0, 1);
    world_pass(&w, 700000);
    check(w.answers[call].done && w.answers[call].outcome == GLAS_UNKNOWN && w.answers[call].status == 504 && strstr(w.answers[call].message, "sent to hq") != NULL);
    world_link(&w, 0, 1);
    world_pass(&w, 300000);
    call_ok(&w, 1, M_TITLE, "surely", 0);
    check(shows(0, "db.title", "surely"));
    world_end(&w);
}

/* A mirror that restarts numbers its calls anew: none is taken for one of its earlier life. */
static void test_new_life(void)
{
    world_begin(&w, 2);
    uint64_t old = call_text(&w, 1, M_TAKE, "", 0, 60000000);
    world_settle(&w);
    check(status_number(&w, 0, "waiting") == 1);
    node_stop(&w, 1);
    node_start(&w, 1);
    world_link(&w, 1, 0);
    world_pass(&w, 300000);
    check(call_ok(&w, 1, M_POKE, "", 3)->n == 3);
    call_ok(&w, 1, M_TICKET, "ticket", 0);
    world_pass(&w, 300000);
    check(!w.answers[old].done && shows(0, "db.tickets", "ticket")); /* nobody waits for it any more */
    world_end(&w);
}

/* ------------------------------------------------------------------ replicas and causality */

static void test_stale(void)
{
    world_begin(&w, 2);
    call_ok(&w, 0, M_RATE, "", 8);
    world_pass(&w, 300000);
    uint64_t requests = status_number(&w, 1, "shipped");
    check(call_ok(&w, 1, M_GET_RATE, "", 0)->n == 8 && requests == 0);
    world_cut(&w, 0, 1);
    call_ok(&w, 0, M_RATE, "", 9);
    world_pass(&w, TINY_STALE_US - 500000);
    check(call_ok(&w, 1, M_GET_RATE, "", 0)->n == 8); /* young enough */
    node_stop(&w, 1);
    node_start(&w, 1);
    check(call_now(&w, 1, M_GET_RATE, "", 0)->n == 8); /* a restart makes no replica younger or lost */
    world_pass(&w, 600000);
    answer *got = call_now(&w, 1, M_GET_RATE, "", 0);
    check(got->reason == GLAS_WHY_REFUSED && strstr(got->message, "older than allowed, owned by hq") != NULL);
    world_link(&w, 0, 1);
    world_settle(&w);
    check(call_ok(&w, 1, M_GET_RATE, "", 0)->n == 9);
    world_end(&w);
}

/* shop1 acts on what hq did; shop2 hears of shop1 first, and must wait for hq's part. */
static void test_causal(void)
{
    for (unsigned chunk = 0; chunk < 4; chunk++) {
        world_begin(&w, 3);
        w.chunk = chunk;
        wire *slow = world_wire(&w, 0, 2);
        slow->lag[slow->ends[0] == 2 ? 0 : 1] = SIZE_MAX;
        for (int i = 0; i < 5; i++) {
            call_ok(&w, 0, M_RATE, "", 100 + i);
            call_ok(&w, 0, M_VISIT, "cause", 1);
            call_ok(&w, 1, M_VISIT, "effect", 1);
            call_ok(&w, 1, M_NOTE, i % 2 ? "odd" : "even", 0);
        }
        check(shows(1, "db.visits", "{\"key\":\"cause\",\"value\":5}") && !shows(2, "db.visits", "effect") && !shows(2, "db.visits", "cause"));
        call_ok(&w, 2, M_VISIT, "own", 1); /* and goes on meanwhile */
        uint64_t call = call_text(&w, 1, M_NEWS, "after", 0, 5000000); /* shipped to shop2: must not overtake what shop1 knows */
        world_settle(&w);
        check(!w.answers[call].done);
        slow->lag[0] = slow->lag[1] = 0;
        world_settle(&w);
        check(w.answers[call].done && w.answers[call].outcome == GLAS_COMMITTED);
        check(shows(2, "db.visits", "{\"key\":\"effect\",\"value\":5}") && shows(2, "db.visits", "{\"key\":\"cause\",\"value\":5}"));
        check(w.nodes[0].closes + w.nodes[1].closes + w.nodes[2].closes == 0);
        world_end(&w);
    }
}

/* ------------------------------------------------------------------ who is refused */

static void refused(const char *why)
{
    world_link(&w, 1, 0);
    world_settle(&w);
    if (strstr(w.nodes[0].log, why) == NULL || strstr(w.nodes[1].log, why) == NULL)
        fprintf(stderr, "wanted: %s\n0: %s\n1: %s\n", why, w.nodes[0].log, w.nodes[1].log);
    check(strstr(w.nodes[0].log, why) != NULL && strstr(w.nodes[1].log, why) != NULL);
    check(world_wire(&w, 0, 1) == NULL && strstr(w.nodes[0].log, "linked to") == NULL);
    world_end(&w);
}

static void open_two_apps(const glas_app *second)
{
    world_open(&w, 2);
    node_start(&w, 0);
    w.app = second;
    node_start(&w, 1);
    w.app = &tiny_app;
    w.nodes[0].log[0] = 0;
}

static void test_strangers(void)
{
    glas_app other = tiny_app;
    other.name = "other";
    open_two_apps(&other);
    refused("this is app tiny, not other");
    other = tiny_app;
    other.version = "2.0";
    other.protocol_id[5] = 77;
    open_two_apps(&other);
    refused("another protocol: this end runs version 1.0 of the app, the other 2.0");
    world_open(&w, 2);
    node_start(&w, 0);
    w.mirrors[1].places |= 1u << 3;
    node_start(&w, 1);
    refused("the two configurations name other mirrors, places or another origin");
}

/* What a mirror has told others and lost: no second history begins. */
static void test_lost_stores(void)
{
    for (int wrote = 0; wrote < 2; wrote++)
        for (int dialled = 0; dialled < 2; dialled++) {
            world_begin(&w, 2);
            if (wrote) call_ok(&w, 1, M_EARN, "", 1);
            world_pass(&w, 300000);
            node_stop(&w, 1);
            w.nodes[1].journal.n = 0;
            w.nodes[1].synced = 0;
            node_start(&w, 1);
            w.nodes[0].log[0] = w.nodes[1].log[0] = 0;
            world_link(&w, dialled, 1 - dialled);
            world_settle(&w);
            check(strstr(w.nodes[0].log, "lost") != NULL || strstr(w.nodes[0].log, "older run") != NULL);
            check(world_wire(&w, 0, 1) == NULL && strstr(w.nodes[0].log, "linked to") == NULL);
            call_ok(&w, 0, M_EARN, "", 1);
            world_end(&w);
        }
}

/* A copy of a store, run beside the original, is found out by its earlier run, or by what it does not know. */
static void test_forked(void)
{
    world_begin(&w, 2);
    call_ok(&w, 1, M_EARN, "", 1);
    world_pass(&w, 300000);
    buffer copy = {0};
    buffer_add(&copy, w.nodes[1].journal.p, w.nodes[1].journal.n);
    for (int i = 0; i < 2; i++) {
        node_stop(&w, 1);
        node_start(&w, 1);
        world_link(&w, 1, 0);
        world_pass(&w, 300000);
        call_ok(&w, 1, M_EARN, "", 1);
    }
    node_stop(&w, 1);
    w.nodes[1].journal.n = 0;
    buffer_add(&w.nodes[1].journal, copy.p, copy.n);
    w.nodes[1].synced = copy.n;
    node_start(&w, 1);
    w.nodes[0].log[0] = 0;
    refused("");
    buffer_free(&copy);
}

static void test_dials(void)
{
    for (unsigned chunk = 0; chunk < 40; chunk += 3) { /* each dials the other, and once more, in every interleaving of pieces */
        world_begin(&w, 2);
        world_cut(&w, 0, 1);
        w.chunk = chunk;
        for (int i = 0; i < 5; i++) call_ok(&w, 1, M_EARN, "", 1), call_ok(&w, 0, M_EARN, "", 1);
        world_link(&w, 0, 1);
        world_link(&w, 1, 0);
        if (chunk % 2) world_link(&w, 0, 1);
        for (int i = 0; i < 5; i++) {
            call_ok(&w, 0, M_EARN, "", 1);
            world_pass(&w, 100000);
            if (world_wire(&w, 0, 1) == NULL) world_link(&w, 0, 1);
        }
        world_pass(&w, 300000);
        for (int k = 0; k < 2; k++) check(shows(k, "db.revenue", "\"value\":15"));
        check(shows(0, "db.voucher", "\"value\":10"));
        world_end(&w);
    }
}

static void test_silence(void)
{
    world_begin(&w, 2);
    wire *it = world_wire(&w, 0, 1);
    it->lag[0] = it->lag[1] = SIZE_MAX;
    world_pass(&w, 6000000);
    check(strstr(w.nodes[0].log, "not a byte came") != NULL && strstr(w.nodes[1].log, "not a byte came") != NULL);
    world_end(&w);
}

static void strangers_say(int32_t kind, uint32_t stranger, const char *p, size_t n)
{
    node_input(&w, &w.nodes[0], &(glas_input){.kind = kind, .link = 1000 + stranger, .a = {p, n}});
}

/* Whoever says no HELLO can neither pin memory with the beginning of one, nor keep a link by a byte now and then. */
static void test_never_introduced(void)
{
    static char big[1 << 20];
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_settle(&w);
    uint64_t before = status_number(&w, 0, "memory");
    memcpy(big, "\0\0\x10\0\1", 5); /* a HELLO of a mebibyte */
    for (uint32_t k = 0; k < 60; k++) strangers_say(GLAS_IN_LINK_UP, k, NULL, 0), strangers_say(GLAS_IN_LINK_BYTES, k, big, sizeof big);
    check(strstr(w.nodes[0].close_reason, "malformed bytes at offset 0") != NULL);
    check(status_number(&w, 0, "memory") < before + 100000);
    memcpy(big, "\0\x20\0\0\1", 5); /* of eight kibibytes, which never come */
    for (uint32_t k = 0; k < 60; k++) strangers_say(GLAS_IN_LINK_UP, k, NULL, 0), strangers_say(GLAS_IN_LINK_BYTES, k, big, 8000);
    check(status_number(&w, 0, "memory") < before + 2000000);
    for (int i = 0; i < 6; i++) {
        check(strstr(w.nodes[0].close_reason, "not introduced") == NULL);
        w.now += 1000000;
        for (uint32_t k = 0; k < 60; k++) strangers_say(GLAS_IN_LINK_BYTES, k, big, 1);
        world_settle(&w);
    }
    check(strstr(w.nodes[0].close_reason, "not introduced") != NULL);
    check(status_number(&w, 0, "memory") < before + 100000);
    world_link_all(&w);
    world_pass(&w, 300000);
    check(strstr(w.nodes[0].log, "linked to shop1") != NULL);
    world_end(&w);
}

/* ------------------------------------------------------------------ a full log */

static void test_full_log(void)
{
    world_open(&w, 2);
    w.nodes[1].config.max_log = 4000;
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link_all(&w);
    world_pass(&w, 300000);
    world_cut(&w, 0, 1);
    int64_t earned = 0;
    answer *got = call_now(&w, 1, M_EARN, "", 1);
    for (; got->outcome == GLAS_COMMITTED; got = call_now(&w, 1, M_EARN, "", 1)) check(++earned < 4000);
    check(got->reason == GLAS_WHY_BUSY && got->status == 503 && strstr(got->message, "log for mirrors that are away is full") != NULL);
    check(call_now(&w, 1, M_NOTE, "x", 0)->reason == GLAS_WHY_BUSY);
    call_ok(&w, 1, M_STOCK, "shop1/tea", 1); /* no other mirror needs this */
    node_stop(&w, 1);
    node_start(&w, 1);
    check(call_now(&w, 1, M_EARN, "", 1)->reason == GLAS_WHY_BUSY);
    world_link(&w, 0, 1);
    world_pass(&w, 300000);
    call_ok(&w, 1, M_EARN, "", 1);
    world_settle(&w);
    char part[60];
    snprintf(part, sizeof part, "\"value\":%lld}", (long long)earned + 1);
    check(shows(0, "db.revenue", part) && shows(1, "db.revenue", part));
    world_end(&w);
}

/* ------------------------------------------------------------------ random faults */

#define ITEMS 120

typedef struct task {
    uint64_t call;
    int64_t earns;
} task;

static unsigned long long chance;
static unsigned pick(unsigned n) { return (unsigned)(check_random(&chance) % n); }

static void fault(void)
{
    int a = (int)pick(3), b = (a + 1 + (int)pick(2)) % 3;
    wire *it = world_wire(&w, a, b);
    switch (pick(12)) {
    case 0: world_cut(&w, a, b); break;
    case 1:
    case 2: world_link(&w, a, b); break;
    case 3: world_link(&w, a, b), world_link(&w, b, a); break;
    case 4: node_stop(&w, a); break;
    case 5:
        if (w.nodes[a].core == NULL) check(node_start(&w, a)->load_message[0] == 0);
        break;
    case 6: node_sync(&w, a); break;
    case 7: w.nodes[a].lazy = !w.nodes[a].lazy; break;
    case 8: if (w.nodes[a].core != NULL) node_input(&w, &w.nodes[a], &(glas_input){.kind = GLAS_IN_SNAPSHOT}); break;
    case 9: if (it != NULL) it->lag[pick(2)] = pick(2) ? SIZE_MAX : pick(200); break;
    case 10: if (it != NULL) it->lag[0] = it->lag[1] = 0; break;
    default: w.chunk = pick(3) == 0 ? 0 : 1 + pick(50); break;
    }
}

static void some_moves(void)
{
    for (unsigned moves = pick(12); moves > 0; moves--) {
        for (int i = 0; i < MAX_WIRES; i++) {
            wire *it = &w.wires[i];
            int end = (int)pick(2);
            if (it->used && it->lag[end] != SIZE_MAX) world_deliver(&w, it, end, 1 + pick(300));
        }
        node *it = &w.nodes[pick(3)];
        if (it->core != NULL) node_input(&w, it, &(glas_input){.kind = GLAS_IN_TURN});
        w.now += pick(30000);
    }
}

static void heal(void)
{
    w.chunk = 0;
    for (int i = 0; i < 3; i++) {
        w.nodes[i].lazy = false;
        if (w.nodes[i].core == NULL) check(node_start(&w, i)->load_message[0] == 0);
        node_sync(&w, i);
    }
    for (int i = 0; i < MAX_WIRES; i++) w.wires[i].lag[0] = w.wires[i].lag[1] = 0;
    for (int k = 0; k < 6; k++) {
        world_settle(&w);
        world_link_all(&w);
        world_pass(&w, 300000);
    }
}

static void give_task(task *it, int number)
{
    static const uint32_t methods[] = {M_SELL, M_SELL, M_NOTE, M_EARN};
    int at = (int)pick(3);
    char item[40];
    uint32_t method = methods[pick(4)];
    snprintf(item, sizeof item, "shop%u/%d", 1 + pick(2), number);
    it->call = UINT64_MAX;
    if (w.nodes[at].core == NULL) return;
    it->earns = method == M_NOTE ? 0 : 1;
    it->call = call_text(&w, at, method, item, 1, 100000000);
}

/* Every item is sold or noted at most once, and just once if its answer said so; all mirrors agree in the end. */
static void check_all(const task *tasks)
{
    int64_t least = 0, most = 0;
    for (int i = 0; i < ITEMS; i++) {
        if (tasks[i].call == UINT64_MAX) continue;
        const answer *got = &w.answers[tasks[i].call];
        bool committed = got->done && got->outcome == GLAS_COMMITTED, aborted = got->done && got->outcome == GLAS_ABORTED;
        least += committed ? tasks[i].earns : 0;
        most += aborted ? 0 : tasks[i].earns;
        char once[60], part[60];
        for (int shop = 1; shop <= 2; shop++) {
            snprintf(part, sizeof part, "\"shop%d/%d\"", shop, i);
            if (strstr(node_inspect(&w, 0, "state db.booked"), part) == NULL) continue;
            check(!aborted);
            snprintf(once, sizeof once, "{\"key\":\"shop%d/%d\",\"value\":1,", shop, i);
            check(shows(0, "db.booked", once));
            committed = false;
        }
        check(!committed || tasks[i].earns == 1); /* a committed note is booked; a sale may have been an `earn` */
    }
    int64_t revenue = strtoll(strstr(node_inspect(&w, 0, "state db.revenue"), "\"value\":") + 8, NULL, 10);
    check(revenue >= least && revenue <= most);
    char line[60];
    snprintf(line, sizeof line, "[{\"value\":%lld}]", (long long)revenue);
    for (int k = 0; k < 3; k++) check(shows(k, "db.revenue", line) && shows(k, "db.voucher", "\"value\":10,") && status_number(&w, k, "log_entries") == 0);
}

static void test_random_faults(void)
{
    unsigned long long committed = 0, starts = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        task tasks[ITEMS];
        chance = seed * 7919;
        world_open(&w, 3);
        for (int i = 0; i < 3; i++) node_start(&w, i);
        world_link_all(&w);
        world_pass(&w, 300000);
        for (int i = 0; i < ITEMS; i++)
            for (int shop = 1; shop <= 2; shop++) {
                char item[40];
                snprintf(item, sizeof item, "shop%d/%d", shop, i);
                call_ok(&w, shop, M_STOCK, item, 1);
            }
        for (int i = 0; i < ITEMS; i++) {
            give_task(&tasks[i], i);
            some_moves();
            fault();
        }
        heal();
        for (int i = 0; i < ITEMS; i++) committed += tasks[i].call != UINT64_MAX && w.answers[tasks[i].call].done && w.answers[tasks[i].call].outcome == GLAS_COMMITTED;
        for (int i = 0; i < 3; i++) starts += w.nodes[i].incarnations;
        check_all(tasks);
        world_end(&w);
    }
    check(committed > 1000 && starts > 200); /* it was no idle run */
}

int main(void)
{
    run(test_cut_off);
    run(test_repeated);
    run(test_unknown);
    run(test_new_life);
    run(test_stale);
    run(test_causal);
    run(test_strangers);
    run(test_lost_stores);
    run(test_forked);
    run(test_dials);
    run(test_silence);
    run(test_never_introduced);
    run(test_full_log);
    run(test_random_faults);
    return 0;
}
