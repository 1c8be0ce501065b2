/* One mirror or two: what transactions do, how they end, and that what failed left nothing. */
#include "driver.h"

static world w;

static bool has(int index, const char *what, const char *part)
{
    bool found = strstr(node_inspect(&w, index, what), part) != NULL;
    if (!found) fprintf(stderr, "%s has no %s: %s\n", what, part, node_inspect(&w, index, what));
    return found;
}

static void test_values_change(void)
{
    world_begin(&w, 1);
    call_ok(&w, 0, M_TITLE, "one", 0);
    call_ok(&w, 0, M_TITLE, "a longer title", 0);
    check(strcmp(call_ok(&w, 0, M_GET_TITLE, "", 0)->text, "a longer title") == 0);
    check(call_ok(&w, 0, M_GET_RATE, "", 0)->n == 7);
    call_ok(&w, 0, M_STOCK, "nowhere/tea", 4); /* names no mirror: the origin's */
    check(call_ok(&w, 0, M_SELL, "nowhere/tea", 3)->n == 1);
    check(call_now(&w, 0, M_SELL, "nowhere/tea", 3)->reason == GLAS_WHY_FAILED && call_now(&w, 0, M_GET_STOCK, "nowhere", 0)->reason == GLAS_WHY_FAILED);
    check(strcmp(call_ok(&w, 0, M_ECHO, "borrowed", 5)->text, "borrowed") == 0 && call_ok(&w, 0, M_SUMS, "", 0)->n == 3);
    call_ok(&w, 0, M_STOCK, "nowhere/a", 10);
    check(call_ok(&w, 0, M_TOTAL, "", 0)->n == 11);
    check(call_ok(&w, 0, M_GROW, "", 40)->n == 2 && call_ok(&w, 0, M_TOTAL, "", 0)->n == 11 * 41);
    check( has(0, "state db.booked", "{\"key\":\"nowhere/tea\",\"value\":1"));
    call_ok(&w, 0, M_CHURN, "y", 1000);
    check(has(0, "state db.visits", "{\"key\":\"y\",\"value\":-500}") && has(0, "status", "\"value\":3"));
    world_end(&w);
}

/* Whatever was done before the mark's undo, or before a failure, is as if it had never been. */
static void test_undo(void)
{
    world_begin(&w, 1);
    call_ok(&w, 0, M_TITLE, "title", 0);
    call_ok(&w, 0, M_STOCK, "a", 1);
    call_ok(&w, 0, M_TICKET, "first", 0);
    call_ok(&w, 0, M_TICKET, "second", 0);
    char *before = node_dump_all(&w, 0);
    uint64_t journal = status_number(&w, 0, "journal");
    for (int how = 2; how <= 3; how++)
        for (int i = 0; i < 40; i++) {
            answer *got = call_now(&w, 0, M_UNDO, i % 2 ? "a" : "b", how);
            check(got->outcome == GLAS_ABORTED && got->reason == (how == 2 ? GLAS_WHY_FAILED : GLAS_WHY_ERROR));
            char *after = node_dump_all(&w, 0);
            check(strcmp(before, after) == 0);
            free(after);
        }
    check(status_number(&w, 0, "journal") == journal && strstr(w.nodes[0].log, "rpc undo: tiny:15: on purpose") != NULL);
    call_ok(&w, 0, M_UNDO, "a", 1);
    check(has(0, "state db.visits", "[{\"key\":\"a\",\"value\":1}]") && has(0, "state db.tickets", "[\"first\",\"second\"]") && has(0, "state db.title", "\"title\""));
    call_ok(&w, 0, M_UNDO, "a", 0); /* keeps it all */
    check(has(0, "state db.visits", "[{\"key\":\"a\",\"value\":2},{\"key\":\"a/new\",\"value\":5}]") && has(0, "state db.tickets", "[\"second\",\"a\",\"a/new\"]"));
    check(has(0, "state db.stock", "[{\"key\":\"a\",\"value\":4711,\"owner\":\"hq\"},{\"key\":\"a/new\",\"value\":4711,\"owner\":\"hq\"}]"));
    check(has(0, "state db.voucher", "15") && has(0, "state db.title", "\"a\"") && has(0, "state db.rate", "4711"));
    char *kept = node_dump(&w, 0);
    node_stop(&w, 0);
    node_start(&w, 0);
    char *again = node_dump(&w, 0);
    check(strcmp(kept, again) == 0);
    free(before), free(kept), free(again);
    world_end(&w);
}

static void aborts(uint32_t method, const char *text, int64_t n, const char *message)
{
    char *before = node_dump_all(&w, 0);
    uint64_t journal = status_number(&w, 0, "journal");
    answer *got = call_now(&w, 0, method, text, n);
    if (strstr(got->message, message) == NULL) fprintf(stderr, "got: %s\n", got->message);
    check(got->outcome == GLAS_ABORTED && got->reason == GLAS_WHY_ERROR && got->status == 500 && strstr(got->message, message) != NULL);
    char *after = node_dump_all(&w, 0);
    check(strcmp(before, after) == 0 && status_number(&w, 0, "journal") == journal);
    free(before), free(after);
}

static void test_errors(void)
{
    world_begin(&w, 2);
    call_ok(&w, 0, M_TICKET, "ticket", 0);
    aborts(M_OVERFLOW, "x", 2, "tiny:17: Int overflow: 9223372036854775807 * 2 does not fit in 64 bits");
    aborts(M_OVERFLOW, "x", 0, "tiny:16: division by zero");
    aborts(M_BIG, "", 65, "longer than max_text");
    call_ok(&w, 0, M_EARN, "", INT64_MAX);
    aborts(M_EARN, "", 1, "tiny:4: Int overflow");
    world_cut(&w, 0, 1);
    call_ok(&w, 1, M_EARN, "", -5); /* each fits where it is done, */
    call_ok(&w, 0, M_EARN, "", 3 - INT64_MAX);
    call_ok(&w, 0, M_EARN, "", INT64_MAX - 3);
    world_link(&w, 0, 1);
    world_pass(&w, 300000);
    call_ok(&w, 0, M_SUMS, "", 0);
    aborts(M_GAIN, "", INT64_MAX, "tiny:5: Int overflow: the rights do not fit");
    call_ok(&w, 0, M_TITLE, "still alive", 0);
    world_end(&w);
}

/* What other mirrors could never be sent is refused where it would begin. */
static void test_oversized(void)
{
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) {
        w.nodes[i].config.max_link_buffer = 16384;
        w.nodes[i].config.max_text = 1 << 20;
        node_start(&w, i);
    }
    world_link(&w, 1, 0);
    world_pass(&w, 300000);
    call_ok(&w, 1, M_BIG, "", 5);
    answer *got = call_now(&w, 1, M_BIG, "", 20);
    check(got->reason == GLAS_WHY_ERROR && strstr(got->message, "too large: max_link_buffer") != NULL);
    char *long_text = malloc(20001);
    memset(long_text, 'l', 20000);
    long_text[20000] = 0;
    got = call_now(&w, 1, M_TITLE, long_text, 0); /* to be shipped */
    check(got->done && got->reason == GLAS_WHY_ERROR && strstr(got->message, "too large: max_link_buffer") != NULL);
    call_ok(&w, 0, M_TITLE, long_text, 0); /* needs no link */
    got = call_now(&w, 1, M_GET_TITLE, "", 0); /* the result would */
    check(got->done && got->reason == GLAS_WHY_ERROR && strstr(got->message, "too large: max_link_buffer") != NULL);
    long_text[6000] = 0;
    call_ok(&w, 1, M_TITLE, long_text, 0);
    call_ok(&w, 1, M_GET_TITLE, "", 0);
    check(w.nodes[0].closes == 0 && w.nodes[1].closes == 0);
    free(long_text);
    world_end(&w);
    world_open(&w, 2); /* larger than the log: never, rather than later */
    w.nodes[1].config.max_log = 3000;
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link(&w, 1, 0);
    world_pass(&w, 300000);
    got = call_now(&w, 1, M_BIG, "", 4);
    check(got->reason == GLAS_WHY_ERROR && strstr(got->message, "too large: max_log") != NULL);
    world_end(&w);
}

static void test_out_of_memory(void)
{
    world_open(&w, 1);
    w.nodes[0].config.max_heap = 400000;
    w.nodes[0].config.max_text = 1 << 20;
    node_start(&w, 0);
    world_settle(&w);
    unsigned refused = 0;
    for (int64_t n = 10; n < 300; n += 10) {
        uint64_t memory = w.nodes[0].memory;
        answer *got = call_now(&w, 0, M_BIG, "", n);
        refused += got->outcome == GLAS_ABORTED;
        check(got->outcome == GLAS_COMMITTED || (got->reason == GLAS_WHY_ERROR && strstr(got->message, "out of memory") != NULL));
        check(w.nodes[0].memory <= 400000 + 65536 && memory <= 400000 + 65536);
    }
    check(refused > 5);
    unsigned rows = 0;
    char key[40];
    answer *got;
    do {
        snprintf(key, sizeof key, "row %u", rows);
        got = call_now(&w, 0, M_STOCK, key, (int64_t)rows++);
    } while (got->outcome == GLAS_COMMITTED && rows < 3900);
    check(rows < 3900 && got->reason == GLAS_WHY_ERROR && strstr(got->message, "out of memory") != NULL);
    check(call_ok(&w, 0, M_GET_STOCK, "row 1", 0)->n == 1 && status_number(&w, 0, "rows") + 1 >= rows - 1);
    world_end(&w);
}

static void test_bounded(void)
{
    world_begin(&w, 3);
    check(call_now(&w, 1, M_GAIN, "", -1)->reason == GLAS_WHY_FAILED); /* its rights are at the origin */
    call_ok(&w, 0, M_GAIN, "", -10);
    check(call_now(&w, 0, M_GAIN, "", -1)->reason == GLAS_WHY_FAILED);
    call_ok(&w, 1, M_SPEND, "code", 3);
    world_cut(&w, 1, 0);
    world_cut(&w, 1, 2);
    call_ok(&w, 1, M_SPEND, "code", -2);
    check(call_now(&w, 1, M_SPEND, "code", -2)->reason == GLAS_WHY_FAILED && call_now(&w, 0, M_SPEND, "code", -1)->reason == GLAS_WHY_FAILED);
    check(call_now(&w, 1, M_SPEND, "other", -1)->reason == GLAS_WHY_FAILED && call_now(&w, 1, M_SPEND, "code", INT64_MIN)->reason == GLAS_WHY_FAILED);
    unsigned long long random = 11;
    for (int i = 0; i < 300; i++) {
        call_now(&w, (int)(check_random(&random) % 3), M_SPEND, i % 2 ? "code" : "c2", (int64_t)(check_random(&random) % 9) - 4);
        for (int k = 0; k < 3; k++) check(strcmp(node_inspect(&w, k, "invariants"), "[]") == 0);
    }
    world_link_all(&w);
    world_pass(&w, 400000);
    char *first = node_dump(&w, 0);
    for (int k = 1; k < 3; k++) {
        char *other = node_dump(&w, k);
        char *rights = strstr(first, "state db.rights"), *end = strstr(rights, "state db.visits");
        check(strncmp(rights, strstr(other, "state db.rights"), (size_t)(end - rights)) == 0 || strstr(rights, "c2") < strstr(rights, "code"));
        check(strcmp(node_inspect(&w, k, "invariants"), "[]") == 0);
        free(other);
    }
    free(first);
    world_end(&w);
}

/* Increments that fit each where it is made, and do not fit together: no mirror loses any of them, and reading says so. */
static void test_wide_sums(void)
{
    world_begin(&w, 2);
    world_cut(&w, 0, 1);
    for (int k = 0; k < 2; k++) call_ok(&w, k, M_EARN, "", INT64_MAX - k);
    world_link(&w, 0, 1);
    world_pass(&w, 300000);
    for (int k = 0; k < 2; k++) {
        check(has(k, "state db.revenue", "[{\"value\":18446744073709551613}]"));
        check(strstr(call_now(&w, k, M_SUMS, "", 0)->message, "tiny:19: Int overflow: the sum does not fit") != NULL);
        check(call_now(&w, k, M_EARN, "", 1)->reason == GLAS_WHY_ERROR);
    }
    node_snapshot(&w, 1);
    node_stop(&w, 1);
    node_start(&w, 1);
    check(has(1, "state db.revenue", "[{\"value\":18446744073709551613}]"));
    world_end(&w);
}

static void test_choose(void)
{
    world_begin(&w, 2);
    call_ok(&w, 1, M_STOCK, "shop1/a", 2);
    call_ok(&w, 1, M_STOCK, "shop1/b", 2);
    call_ok(&w, 1, M_STOCK, "shop1/c", 2);
    char seen[4] = {0};
    for (int i = 0; i < 3; i++) seen[call_ok(&w, 1, M_PICK, "", 1)->text[6] - 'a']++;
    check(seen[0] == 1 && seen[1] == 1 && seen[2] == 1); /* in turn */
    for (int i = 0; i < 3; i++) call_ok(&w, 1, M_PICK, "", 1);
    uint64_t waits = call_text(&w, 1, M_PICK, "", 1, 5000000);
    world_pass(&w, 200000);
    check(!w.answers[waits].done && status_number(&w, 1, "waiting") == 1);
    call_ok(&w, 1, M_STOCK, "shop1/d", 7);
    world_settle(&w);
    check(w.answers[waits].done && w.answers[waits].n == 6);
    /* all rows: those of shop1, and those whose key names no shop, which live at the origin */
    check(call_now(&w, 0, M_TOTAL, "", 0)->reason == GLAS_WHY_REFUSED && strstr(call_now(&w, 0, M_TOTAL, "", 0)->message, "units of several") != NULL);
    world_end(&w);
}

int main(void)
{
    run(test_values_change);
    run(test_undo);
    run(test_errors);
    run(test_oversized);
    run(test_out_of_memory);
    run(test_bounded);
    run(test_wide_sums);
    run(test_choose);
    return 0;
}
