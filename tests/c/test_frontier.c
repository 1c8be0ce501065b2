/* What an answer or a probe says of others' entries is true: a reply waits for what it has seen, and no replica looks younger than it is. */
#include "driver.h"

static world w;

static void open_all(int count, size_t link_buffer)
{
    world_open(&w, count);
    for (int i = 0; i < count; i++) {
        w.nodes[i].config.max_link_buffer = link_buffer;
        node_start(&w, i);
    }
    world_link_all(&w);
    world_pass(&w, 300000);
    call_ok(&w, 0, M_RATE, "", 8);
    world_pass(&w, 300000);
}

static void close_all(void)
{
    world_close(&w);
    check_no_leak(&w);
}

static size_t *lag_to(int to, int from)
{
    wire *it = world_wire(&w, to, from);
    return &it->lag[it->ends[0] == to ? 0 : 1];
}

static buffer *on_the_way(int to, int from)
{
    wire *it = world_wire(&w, to, from);
    return &it->to[it->ends[0] == to ? 0 : 1];
}

static void deliver(int to, int from)
{
    wire *it = world_wire(&w, to, from);
    world_deliver(&w, it, it->ends[0] == to ? 0 : 1, SIZE_MAX);
}

static bool has_seen(int index, const char *visit) { return strstr(node_inspect(&w, index, "state db.visits"), visit) != NULL; }

/* hq has applied what shop2 did, shop1 has not yet. A call of shop1 that is carried out at hq has seen it, so its answer waits. */
static void test_a_reply_waits_for_what_it_has_seen(void)
{
    static const uint32_t methods[] = {M_GET_TITLE, M_TITLE}; /* reads only; writes */
    for (size_t i = 0; i < 2; i++) {
        open_all(3, 1u << 20);
        *lag_to(1, 2) = SIZE_MAX;
        call_ok(&w, 2, M_VISIT, "seen", 1);
        check(has_seen(0, "seen") && !has_seen(1, "seen"));
        uint64_t call = call_text(&w, 1, methods[i], "title", 0, 60000000);
        world_settle(&w);
        check(!w.answers[call].done);
        *lag_to(1, 2) = 0;
        world_settle(&w);
        check(w.answers[call].done && has_seen(1, "seen"));
        close_all();
    }
}

/* The other way round: a call is carried out only where what its sender has seen is applied. */
static void test_a_request_waits_for_what_it_has_seen(void)
{
    open_all(3, 1u << 20);
    *lag_to(0, 2) = SIZE_MAX;
    call_ok(&w, 2, M_VISIT, "seen", 1);
    check(has_seen(1, "seen") && !has_seen(0, "seen"));
    uint64_t call = call_text(&w, 1, M_GET_TITLE, "", 0, 60000000);
    world_settle(&w);
    check(!w.answers[call].done);
    *lag_to(0, 2) = 0;
    world_settle(&w);
    check(w.answers[call].done && has_seen(0, "seen"));
    close_all();
}

static void check_too_old(void)
{
    world_cut(&w, 0, 1);
    answer *got = call_now(&w, 1, M_GET_RATE, "", 0);
    check(got->reason == GLAS_WHY_REFUSED && strstr(got->message, "older than allowed") != NULL);
    close_all();
}

/* A probe's answer is long on its way, and what hq did meanwhile is behind it: it says how things were when the probe left. */
static void test_a_late_answer(void)
{
    open_all(2, 1u << 20);
    *lag_to(1, 0) = SIZE_MAX;
    world_pass(&w, 250000);
    size_t probed = on_the_way(1, 0)->n;
    check(probed != 0);
    call_ok(&w, 0, M_RATE, "", 9);
    world_pass(&w, TINY_STALE_US + 500000);
    wire *it = world_wire(&w, 0, 1);
    world_deliver(&w, it, it->ends[0] == 1 ? 0 : 1, probed);
    check(strstr(node_inspect(&w, 1, "state db.rate"), "\"value\":8") != NULL);
    check_too_old();
}

/* A probe comes while there is more to send than a link takes at once: its answer waits until all has been sent. */
static void test_an_early_answer(void)
{
    static char key[1001];
    open_all(2, 65536);
    world_cut(&w, 0, 1);
    memset(key, 'k', 1000);
    for (int i = 0; i < 300; i++) call_ok(&w, 0, M_VISIT, key, 1);
    call_ok(&w, 0, M_RATE, "", 9);
    world_pass(&w, TINY_STALE_US + 500000);
    world_link(&w, 1, 0);
    deliver(0, 1); /* HELLO */
    deliver(1, 0); /* HELLO, and the first entries */
    node_input(&w, &w.nodes[1], &(glas_input){.kind = GLAS_IN_TURN});
    check(on_the_way(0, 1)->n != 0);
    deliver(0, 1); /* the probe */
    deliver(1, 0);
    check(has_seen(1, "kkk") && strstr(node_inspect(&w, 1, "state db.rate"), "\"value\":8") != NULL);
    check_too_old();
}

/* hq's entries rest on one of shop2 that shop1 has not got: shop1 takes none of them, and says whom it waits for. */
static void test_waits_for_a_third(void)
{
    world_begin(&w, 3);
    wire *slow = world_wire(&w, 1, 2);
    slow->lag[slow->ends[0] == 1 ? 0 : 1] = SIZE_MAX;
    call_ok(&w, 2, M_NOTE, "last sale of shop2", 0);
    world_settle(&w);
    check(strstr(node_inspect(&w, 1, "status"), "\"waits_for\":\"") == NULL);
    node_stop(&w, 2);
    call_ok(&w, 0, M_RATE, "", 100);
    world_pass(&w, 300000);
    check(strstr(node_inspect(&w, 1, "status"), "\"waits_for\":\"shop2\"") != NULL);
    node_start(&w, 2);
    world_link_all(&w);
    world_pass(&w, 300000);
    check(strstr(node_inspect(&w, 1, "status"), "\"waits_for\":\"") == NULL);
    world_close(&w);
}

int main(void)
{
    run(test_waits_for_a_third);
    run(test_a_reply_waits_for_what_it_has_seen);
    run(test_a_request_waits_for_what_it_has_seen);
    run(test_a_late_answer);
    run(test_an_early_answer);
    return 0;
}
