/* The n-th allocation fails, for every n, over a bit of everything: nothing breaks or leaks, and afterwards all goes on as if it had not. */
#include "driver.h"

static world w;

static bool usable(int index)
{
    node *it = &w.nodes[index];
    if (it->core != NULL && it->load_message[0] != 0) node_stop(&w, index);
    return it->core != NULL;
}

static void start_all(void)
{
    for (int i = 0; i < 2; i++) {
        if (usable(i)) continue;
        w.nodes[i].load_message[0] = 0;
        node_start(&w, i);
        usable(i);
    }
    if (world_wire(&w, 0, 1) == NULL) world_link(&w, 1, 0);
    world_pass(&w, 300000);
}

static const struct { int at; uint32_t method; const char *text; int64_t n; } work[] = {
    {0, M_TITLE, "some title", 0}, {1, M_STOCK, "shop1/tea", 5}, {1, M_RATE, "", 12}, {0, M_NEWS, "a bit of news", 0}, {0, M_GET_STOCK, "shop1/tea", 0},
    {0, M_EARN, "", 1}, {1, M_EARN, "", 1}, {0, M_SPEND, "code", 2}, {1, M_SPEND, "code", 2}, {1, M_VISIT, "x", 1}, {1, M_NOTE, "an item", 0},
    {0, M_SELL, "shop1/tea", 0}, {0, M_UNDO, "a", 1}, {0, M_UNDO, "a", 2}, {0, M_GROW, "", 2}, {1, M_GROW, "", 2}, {0, M_OVERFLOW, "x", 3}, {1, M_ECHO, "echo", 1},
    {1, M_PICK, "", 0}, {1, M_GET_RATE, "", 0}, {0, M_BIG, "", 3}};
#define WORK (sizeof work / sizeof *work)

static int64_t tried, earned;

static void do_work(size_t from, size_t to, bool must)
{
    for (size_t i = from; i < to; i++) {
        if (!usable(work[i].at)) continue;
        const answer *got = call_now(&w, work[i].at, work[i].method, work[i].text, work[i].n);
        tried += work[i].method == M_EARN;
        earned += work[i].method == M_EARN && got->done && got->outcome == GLAS_COMMITTED;
        check(!must || got->done);
    }
}

static void ask(int index, int32_t kind, const char *a, const char *b)
{
    glas_reply reply = {0};
    if (!usable(index)) return;
    node_input(&w, &w.nodes[index], &(glas_input){.kind = kind, .call = 4000, .a = {a, strlen(a)}, .b = {b, strlen(b)}, .c = {"body", 4}, .reply = &reply});
    node_drain(&w, &w.nodes[index]);
}

static void scenario(void)
{
    start_all();
    do_work(0, 10, false);
    if (usable(1)) node_input(&w, &w.nodes[1], &(glas_input){.kind = GLAS_IN_SNAPSHOT});
    do_work(10, WORK, false);
    ask(0, GLAS_IN_INSPECT, "status", "");
    ask(0, GLAS_IN_RPC, "echo", "{\"text\":\"\\u00e4\",\"n\":1}");
    ask(0, GLAS_IN_HTTP, "POST", "/sell/%C3%A4");
    world_settle(&w);
    if (usable(0)) call_text(&w, 0, M_TAKE, "", 0, 100000);
    if (usable(1)) call_text(&w, 1, M_TAKE, "", 0, 100000);
    world_pass(&w, 200000);
    for (int i = 0; i < 2; i++) node_stop(&w, i);
    start_all();
    do_work(0, 3, false);
}

/* What is set, not counted, must come out the same; what is counted, the same everywhere. */
static char *outcome(void)
{
    buffer all = {0};
    static const struct { int at; const char *state; } parts[] = {{0, "db.title"}, {0, "db.rate"}, {1, "db.rate"}, {1, "db.stock"}, {1, "db.news"}, {0, "db.voucher"}, {1, "db.voucher"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char what[60];
        snprintf(what, sizeof what, "state %s", parts[i].state);
        const char *json = node_inspect(&w, parts[i].at, what);
        buffer_add(&all, json, strlen(json));
    }
    buffer_add(&all, "", 1);
    return (char *)all.p;
}

/* Rows may stand in another order where entries came in another. */
static void same_everywhere(const char *state)
{
    char what[60], first[4000];
    snprintf(what, sizeof what, "state %s", state);
    snprintf(first, sizeof first, "%s", node_inspect(&w, 0, what));
    const char *second = node_inspect(&w, 1, what);
    check(strlen(first) == strlen(second));
    for (const char *row = strchr(first, '{'); row != NULL; row = strchr(row + 1, '{')) {
        char one[200];
        snprintf(one, sizeof one, "%.*s", (int)strcspn(row, "}"), row);
        check(strstr(second, one) != NULL);
    }
}

static char *go(int64_t after, int64_t count, bool *failed)
{
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) w.nodes[i].config.max_waiting = 8;
    tried = earned = 0;
    driver_fail_after = after;
    driver_fail_count = count;
    scenario();
    *failed = driver_fail_count != count;
    driver_fail_after = -1;
    world_pass(&w, 6000000); /* links over which silence has fallen are found out */
    start_all();
    start_all();
    do_work(0, WORK, true);
    world_pass(&w, 1000000);
    start_all();
    check(status_number(&w, 0, "log_entries") == 0 && status_number(&w, 1, "log_entries") == 0);
    same_everywhere("db.revenue");
    same_everywhere("db.visits");
    int64_t revenue = strtoll(strstr(node_inspect(&w, 0, "state db.revenue"), "\"value\":") + 8, NULL, 10);
    check(revenue >= earned && revenue <= tried + 1);
    for (int i = 0; i < 2; i++) check(strcmp(node_inspect(&w, i, "invariants"), "[]") == 0);
    char *result = outcome();
    world_close(&w);
    check_no_leak(&w);
    return result;
}

static void test_every_allocation(void)
{
    bool failed;
    char *expected = go(INT64_MAX, 1, &failed);
    static const int64_t counts[] = {1, 3, 1000000};
    int64_t n = 0;
    for (failed = true; failed; n++) {
        /* Each allocation fails alone; every third with the two behind it, every seventh with all behind it. */
        for (int i = 0; i < 3; i++) {
            if ((i == 1 && n % 3 != 0) || (i == 2 && n % 7 != 0)) continue;
            char *got = go(n, counts[i], &failed);
            if (strcmp(got, expected) != 0) fprintf(stderr, "allocation %lld, %d:\n%s\n%s\n", (long long)n, i, expected, got);
            check(strcmp(got, expected) == 0);
            free(got);
        }
    }
    check(n > 200);
    printf("%lld allocations\n", (long long)n);
    free(expected);
}

int main(void)
{
    driver_max_calls = 100;
    run(test_every_allocation);
    return 0;
}
