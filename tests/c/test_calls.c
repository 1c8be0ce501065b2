/* Calls that wait, are woken, time out, are cancelled; http and rpc forms; `start`; inputs that make no sense. */
#include "driver.h"

static world w;

static void test_waiting(void)
{
    for (int at = 0; at < 2; at++) { /* here, and shipped to where the read end is */
        world_begin(&w, 2);
        uint64_t first = call_text(&w, at, M_TAKE, "", 0, 10000000), second = call_text(&w, at, M_TAKE, "", 0, 400000);
        world_pass(&w, 100000);
        check(!w.answers[first].done && !w.answers[second].done);
        call_ok(&w, 1, M_TICKET, "A", 0);
        world_settle(&w);
        check(w.answers[first].done != w.answers[second].done);
        check(strcmp(w.answers[w.answers[first].done ? first : second].text, "A") == 0);
        uint64_t left = w.answers[first].done ? second : first;
        if (left == second) {
            world_pass(&w, 600000);
            check(w.answers[second].done && w.answers[second].outcome != GLAS_COMMITTED);
            check(at == 1 || (w.answers[second].reason == GLAS_WHY_TIMEOUT && w.answers[second].status == 504));
            call_ok(&w, 1, M_TICKET, "B", 0);
            check(strcmp(call_ok(&w, 0, M_TAKE, "", 0)->text, "B") == 0); /* whoever gave up takes nothing */
        }
        check(status_number(&w, 0, "waiting") == 0 && status_number(&w, at, "shipped") == 0);
        world_end(&w);
    }
}

static void test_cancel(void)
{
    world_begin(&w, 2);
    for (int at = 0; at < 2; at++) {
        uint64_t call = call_text(&w, at, M_TAKE, "", 0, 1000000);
        world_settle(&w);
        node_input(&w, &w.nodes[at], &(glas_input){.kind = GLAS_IN_CANCEL, .call = call});
        node_input(&w, &w.nodes[at], &(glas_input){.kind = GLAS_IN_CANCEL, .call = call});
        world_pass(&w, 2000000);
        check(!w.answers[call].done && status_number(&w, at, "waiting") + status_number(&w, at, "shipped") == 0);
    }
    world_end(&w);
}

static void test_too_many(void)
{
    world_begin(&w, 1);
    uint64_t calls[33];
    for (int i = 0; i < 33; i++) calls[i] = call_text(&w, 0, M_TAKE, "", 0, 10000000);
    world_settle(&w);
    check(w.answers[calls[32]].done && w.answers[calls[32]].reason == GLAS_WHY_BUSY && !w.answers[calls[31]].done);
    for (int i = 0; i < 32; i++) call_ok(&w, 0, M_TICKET, "t", 0);
    for (int i = 0; i < 32; i++) check(w.answers[calls[i]].done && w.answers[calls[i]].outcome == GLAS_COMMITTED);
    world_end(&w);
}

static void test_long_waits(void)
{
    world_begin(&w, 2);
    static const int64_t waits[] = {INT64_MAX, INT64_MAX / 2, INT64_MAX - 1, INT64_MIN, -1, 0};
    for (int at = 0; at < 2; at++)
        for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
            uint64_t call = call_text(&w, at, M_TAKE, "", 0, waits[i]);
            world_pass(&w, 100000);
            check(w.answers[call].done == (waits[i] <= 0));
            if (waits[i] <= 0) continue;
            call_ok(&w, 0, M_TICKET, "x", 0);
            world_settle(&w);
            check(w.answers[call].done && w.answers[call].outcome == GLAS_COMMITTED);
        }
    check(w.nodes[0].closes == 0 && w.nodes[1].closes == 0);
    world_end(&w);
}

static void test_http(void)
{
    world_begin(&w, 2);
    for (int at = 0; at < 2; at++) {
        answer *got = &w.answers[call_http(&w, at, "POST", "/sell/gr%C3%BCner%20tee?x=1", "body", 1000000)];
        world_settle(&w);
        check(got->done && got->status == 200 && strcmp(got->body, "body") == 0);
    }
    check(strstr(node_inspect(&w, 0, "state db.booked"), "{\"key\":\"gr\xC3\xBCner tee\",\"value\":2") != NULL);
    static const struct { const char *verb, *path; int status; } bad[] = {
        {"GET", "/sell/x", 405}, {"POST", "/sell", 404}, {"POST", "/sell/", 404}, {"POST", "/sell/a/b", 404}, {"POST", "", 404}, {"POST", "sell/x", 404},
        {"GET", "/", 404}, {"GET", "//", 404}, {"POST", "/sell/%", 400}, {"POST", "/sell/%4", 400}, {"POST", "/sell/%zz", 400}, {"POST", "/sell/%FF", 400}, {"", "/wait", 405}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        answer *got = &w.answers[call_http(&w, 0, bad[i].verb, bad[i].path, "", 1000)];
        world_settle(&w);
        check(got->done && got->outcome == GLAS_ABORTED && (got->status == bad[i].status || got->status == 400));
    }
    uint64_t waits = call_http(&w, 1, "GET", "/wait", "", 5000000);
    world_settle(&w);
    call_ok(&w, 0, M_TICKET, "ticket", 0);
    check(w.answers[waits].done && strcmp(w.answers[waits].body, "ticket") == 0);
    uint64_t fails = call_http(&w, 0, "POST", "/sell/x", "\xFF", 1000); /* what fails is tried again until its time is over */
    check(!w.answers[fails].done);
    world_pass(&w, 2000);
    check(w.answers[fails].done && w.answers[fails].reason == GLAS_WHY_TIMEOUT);
    world_end(&w);
}

static void test_rpc(void)
{
    world_begin(&w, 2);
    answer *got = &w.answers[call_rpc(&w, 0, "echo", " {\"n\": 5, \"text\":\"\\u00e4\\n\"} ", 1000)];
    check(got->outcome == GLAS_COMMITTED && strcmp(got->body, "{\"n\":5,\"text\":\"\xC3\xA4\\n\"}") == 0);
    got = &w.answers[call_rpc(&w, 1, "echo", "{\"text\":\"shipped\",\"n\":1}", 100000)];
    world_settle(&w);
    check(got->done && strcmp(got->body, "{\"n\":1,\"text\":\"shipped\"}") == 0);
    static const char *const bad[] = {"", "{}", "{\"n\":5}", "{\"text\":\"a\",\"n\":1.0}", "{\"text\":\"a\",\"n\":1}x", "[]", "null", "{\"text\":\"a\",\"n\":1,\"n\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        got = &w.answers[call_rpc(&w, 0, "echo", bad[i], 1000)];
        world_settle(&w);
        check(got->reason == GLAS_WHY_BAD_INPUT && got->status == 400 && strstr(got->message, "rpc echo") != NULL);
    }
    check(w.answers[call_rpc(&w, 0, "book", "{}", 1000)].reason == GLAS_WHY_NO_METHOD && w.answers[call_rpc(&w, 0, "", "{}", 1000)].reason == GLAS_WHY_NO_METHOD);
    world_end(&w);
}

/* `start` takes effect once ever; nothing else runs before it, or before it is known. */
static void test_start_once(void)
{
    world_open(&w, 2);
    node_start(&w, 1);
    world_settle(&w);
    check(call_now(&w, 1, M_EARN, "", 1)->reason == GLAS_WHY_STARTING);
    w.nodes[0].lazy = true;
    node_start(&w, 0);
    world_settle(&w);
    node_stop(&w, 0); /* start committed, but was never on disk */
    w.nodes[0].lazy = false;
    for (int i = 0; i < 3; i++) {
        node_start(&w, 0);
        world_link_all(&w);
        world_pass(&w, 300000);
        check(strstr(node_inspect(&w, 0, "state db.voucher"), "\"value\":10,") != NULL && strstr(node_inspect(&w, 1, "state db.voucher"), "\"value\":10,") != NULL);
        node_stop(&w, 0);
        call_ok(&w, 1, M_EARN, "", 1);
    }
    node_stop(&w, 1);
    node_start(&w, 1);
    call_ok(&w, 1, M_EARN, "", 1);
    world_end(&w);
}

static void test_clocks(void)
{
    world_begin(&w, 2);
    static const int64_t times[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MIN + 1, INT64_MAX - 1, 1, INT64_C(1700000000000000)};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        w.now = times[i];
        uint64_t call = call_text(&w, 1, M_TITLE, "t", 0, INT64_MAX), waits = call_text(&w, 0, M_TAKE, "", 0, 5);
        for (int k = 0; k < 2; k++) node_input(&w, &w.nodes[k], &(glas_input){.kind = GLAS_IN_TURN});
        for (int k = 0; k < 2; k++) node_drain(&w, &w.nodes[k]);
        if (world_wire(&w, 0, 1) == NULL) world_link(&w, 0, 1);
        (void)call, (void)waits;
    }
    for (int k = 0; k < 2; k++) w.nodes[k].wake_at = INT64_MAX;
    world_cut(&w, 0, 1);
    world_link(&w, 0, 1);
    world_pass(&w, 500000);
    call_ok(&w, 1, M_TITLE, "again", 0);
    w.now -= 60000000; /* set back by a minute: no link breaks over it */
    int closes = w.nodes[0].closes + w.nodes[1].closes;
    world_pass(&w, 100000);
    node_input(&w, &w.nodes[0], &(glas_input){.kind = GLAS_IN_TURN});
    node_input(&w, &w.nodes[1], &(glas_input){.kind = GLAS_IN_TURN});
    world_pass(&w, 500000);
    call_ok(&w, 1, M_TITLE, "and again", 0);
    check(w.nodes[0].closes + w.nodes[1].closes == closes);
    world_end(&w);
}

static void absurd(glas_input input)
{
    node *it = &w.nodes[0];
    glas_reply reply = {0};
    input.now = w.now;
    input.call = 4000; /* nobody's */
    for (int with = 0; with < 2; with++) {
        input.reply = with ? &reply : NULL;
        glas_step(it->core, &input);
        glas_output out;
        while (glas_poll(it->core, &out)) {
            if (out.kind == GLAS_OUT_JOURNAL) buffer_add(&it->journal, out.bytes.p, out.bytes.n);
            check(out.kind != GLAS_OUT_REPLY || out.reply.call == 4000);
        }
    }
}

static void test_absurd_inputs(void)
{
    world_begin(&w, 2);
    static char zeros[100];
    char *before = node_dump_all(&w, 0);
    for (int32_t kind = -3; kind < 40; kind++) {
        if (kind == GLAS_IN_CANCEL || kind == GLAS_IN_INSPECT) continue;
        absurd((glas_input){.kind = kind, .link = UINT32_MAX, .method = UINT32_MAX, .timeout_us = INT64_MIN, .position = UINT64_MAX});
        absurd((glas_input){.kind = kind, .method = M_BOOK, .args = zeros, .timeout_us = 1});
        absurd((glas_input){.kind = kind, .method = M_ECHO, .timeout_us = 1});
        absurd((glas_input){.kind = kind, .a = {zeros, 100}, .b = {zeros, 100}, .c = {zeros, 100}, .method = M_COUNT, .position = 3});
        absurd((glas_input){.kind = kind, .link = 999, .a = {"\xFF\xFF\xFF\xFF", 4}, .b = {"", 0}, .method = M_START});
    }
    absurd((glas_input){.kind = GLAS_IN_INSPECT});
    absurd((glas_input){.kind = GLAS_IN_INSPECT, .a = {"state ", 6}});
    absurd((glas_input){.kind = GLAS_IN_INSPECT, .a = {"state nothing", 13}});
    absurd((glas_input){.kind = GLAS_IN_CANCEL});
    check(strcmp(w.answers[call_now(&w, 0, M_ECHO, "", 0) - w.answers].text, "") == 0);
    char *after = node_dump_all(&w, 0);
    check(strcmp(before, after) == 0);
    free(before), free(after);
    world_end(&w);
}

/* Before START every call is told so, at once or later as it asked. */
static void test_before_start(void)
{
    world_open(&w, 1);
    check(node_load(&w, &w.nodes[0]));
    for (int i = 0; i < 2; i++) {
        uint64_t call = call_text(&w, 0, M_EARN, "", 1, 100);
        node_drain(&w, &w.nodes[0]);
        check(w.answers[call].done && w.answers[call].reason == GLAS_WHY_STARTING);
    }
    world_end(&w);
}

/* Calls that end while there is no memory at all: each is told so, by its outcome and reason at least. */
static void test_ends_without_memory(void)
{
    uint64_t calls[20], shipped[3];
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link_all(&w);
    world_pass(&w, 300000);
    for (int i = 0; i < 20; i++) calls[i] = call_text(&w, 0, M_TAKE, "", 0, 1000000);
    for (int i = 0; i < 3; i++) shipped[i] = call_text(&w, 1, M_TAKE, "", 0, 1000000);
    world_settle(&w);
    w.now += 1500000;
    for (int i = 0; i < 2; i++) {
        driver_fail_after = 0;
        driver_fail_count = 100000;
        glas_step(w.nodes[i].core, &(glas_input){.kind = GLAS_IN_TURN, .now = w.now});
        driver_fail_after = -1;
        driver_fail_count = 0;
        node_drain(&w, &w.nodes[i]);
    }
    for (int i = 0; i < 20; i++) check(w.answers[calls[i]].done && w.answers[calls[i]].reason == GLAS_WHY_TIMEOUT && w.answers[calls[i]].message[0] != 0);
    for (int i = 0; i < 3; i++) check(w.answers[shipped[i]].done && w.answers[shipped[i]].outcome == GLAS_UNKNOWN && w.answers[shipped[i]].message[0] != 0);
    world_end(&w);
}

/* What one large value, or an answer that was too large, has taken is given back. */
static void test_memory_comes_back(void)
{
    static char text[60001];
    world_open(&w, 1);
    w.mirrors[0].places = 7;
    w.nodes[0].config.max_heap = 4u << 20;
    node_start(&w, 0);
    world_settle(&w);
    memset(text, 'x', 60000);
    for (int i = 0; i < 20; i++) call_ok(&w, 0, M_TICKET, text, 0);
    node_snapshot(&w, 0);
    uint64_t before = status_number(&w, 0, "memory");
    check(before < 1400000);
    glas_reply reply = {0};
    node_input(&w, &w.nodes[0], &(glas_input){.kind = GLAS_IN_INSPECT, .a = {"state db.tickets", 16}, .reply = &reply});
    check(reply.outcome == GLAS_COMMITTED && reply.body.n > 1200000);
    node_drain(&w, &w.nodes[0]);
    check(status_number(&w, 0, "memory") == before);
    world_end(&w);
}

int main(void)
{
    run(test_waiting);
    run(test_cancel);
    run(test_too_many);
    run(test_long_waits);
    run(test_http);
    run(test_rpc);
    run(test_start_once);
    run(test_clocks);
    run(test_absurd_inputs);
    run(test_before_start);
    run(test_memory_comes_back);
    run(test_ends_without_memory);
    return 0;
}
