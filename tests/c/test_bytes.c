/* Links fed with anything: in pieces, with changed, trailing and random bytes. A link goes on or is closed for a reason; the core goes on. */
#include "driver.h"

static world w;

static void talk(void)
{
    static const struct { int at; uint32_t method; const char *text; int64_t n; } calls[] = {
        {1, M_STOCK, "shop1/tea", 5}, {0, M_SELL, "shop1/tea", 2}, {1, M_TITLE, "title", 0}, {1, M_GET_TITLE, "", 0}, {0, M_RATE, "", 300}, {1, M_NOTE, "note", 0},
        {1, M_SPEND, "code", 5}, {1, M_SPEND, "code", -2}, {1, M_CHURN, "many", 3}, {0, M_VISIT, "visit", 1}, {0, M_NEWS, "news", 0}, {1, M_OVERFLOW, "x", 2},
        {0, M_GET_STOCK, "none", 0}, {1, M_POKE, "", 1}, {1, M_UNDO, "a", 0}, {1, M_BOTH, "shop1/x", 1}};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        call_now(&w, calls[i].at, calls[i].method, calls[i].text, calls[i].n);
        if (i % 4 != 3) continue;
        if (world_wire(&w, 0, 1) == NULL) world_link(&w, 1, 0);
        world_pass(&w, 300000);
    }
    uint64_t http = call_http(&w, 1, "POST", "/sell/tea", "{}", 1000000);
    (void)http;
    world_pass(&w, 300000);
}

static void open_all(void)
{
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link(&w, 1, 0);
}

/* Whatever came, what needs no other mirror goes on, and nothing leaks. */
static void close_all(void)
{
    for (int i = 0; i < 2; i++) world_cut(&w, 0, 1);
    call_ok(&w, 0, M_TITLE, "alive", 0);
    if (strstr(node_inspect(&w, 1, "status"), "\"started\":true") != NULL) call_ok(&w, 1, M_STOCK, "shop1/alive", 1);
    for (int i = 0; i < 2; i++) {
        node_snapshot(&w, i);
        check(strcmp(node_inspect(&w, i, "invariants"), "[]") == 0);
    }
    world_close(&w);
    check_no_leak(&w);
}

static void test_pieces(void)
{
    char *expected[2] = {NULL, NULL};
    for (unsigned chunk = 0; chunk < 12; chunk++) {
        open_all();
        w.chunk = chunk;
        world_pass(&w, 300000);
        talk();
        check(w.nodes[0].closes + w.nodes[1].closes == 0);
        for (int i = 0; i < 2; i++) {
            char *got = node_dump(&w, i);
            if (expected[i] == NULL) expected[i] = got;
            check(strcmp(expected[i], got) == 0);
            if (expected[i] != got) free(got);
        }
        close_all();
    }
    free(expected[0]), free(expected[1]);
}

/* A close says where, or else what was wrong with what the other end said of itself. */
static bool is_reason(const char *reason)
{
    static const char *const known[] = {"malformed bytes at offset ", "refused by the other end, which says: ", "this is app ", "another protocol", "the two configurations", "the other end",
                                        "this end has", "dialled ", "an older run", "overtaken", "a newer link", "not a byte came", "more bytes wait"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(reason, known[i], strlen(known[i])) == 0) return true;
    fprintf(stderr, "reason: %s\n", reason);
    return false;
}

static void test_flips(void)
{
    size_t lengths[2];
    unsigned closed = 0, named = 0, all = 0;
    unsigned long long random = 77;
    open_all();
    world_pass(&w, 300000);
    talk();
    for (int i = 0; i < 2; i++) lengths[i] = w.delivered[i];
    close_all();
    for (int to = 0; to < 2; to++)
        for (size_t at = 0; at < lengths[to]; at++, all++) {
            open_all();
            w.flip_node = to;
            w.flip_at = at;
            w.flip_with = (uint8_t)(at % 2 ? 1u << check_random(&random) % 8 : 1 + check_random(&random) % 255);
            world_pass(&w, 300000);
            talk();
            for (int i = 0; i < 2; i++) {
                closed += w.nodes[i].closes > 0;
                named += strstr(w.nodes[i].log, "malformed bytes at offset ") != NULL;
                if (w.nodes[i].closes > 0) check(is_reason(w.nodes[i].close_reason));
            }
            close_all();
        }
    printf("%u flips, %u closes, %u with an offset\n", all, closed, named);
    check(all > 1000 && closed > all / 4 && named > all / 8);
}

static void feed(const uint8_t *bytes, size_t n)
{
    wire *it = world_wire(&w, 0, 1);
    if (it == NULL) return;
    buffer_add(&it->to[it->ends[0] == 0 ? 0 : 1], bytes, n);
    world_settle(&w);
}

static void test_trailing(void)
{
    static const uint8_t zeros[64] = {0};
    for (size_t n = 1; n < 40; n++) {
        open_all();
        world_pass(&w, 300000);
        talk();
        feed(zeros, n);
        check((world_wire(&w, 0, 1) == NULL) == (n >= 4));
        if (n >= 4) check(strncmp(w.nodes[0].close_reason, "malformed bytes at offset ", 26) == 0 && strtoull(w.nodes[0].close_reason + 26, NULL, 10) > 100);
        close_all();
    }
}

/* Frames of every kind, with a head that fits and a body that is anything. */
static void test_random(void)
{
    unsigned long long random = 4242;
    for (unsigned round = 0; round < 1500; round++) {
        uint8_t bytes[80];
        open_all();
        if (round % 8 == 0) { /* before any HELLO */
            world_cut(&w, 0, 1);
            world_link(&w, 1, 0);
            wire *it = world_wire(&w, 0, 1);
            it->to[0].n = it->to[1].n = 0;
        } else world_pass(&w, 300000);
        for (unsigned frames = 0; frames < 4; frames++) {
            size_t n = 5 + check_random(&random) % 40;
            for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(check_random(&random) % (round % 3 == 0 ? 256 : 12));
            if (round % 16 != 7) {
                memset(bytes, 0, 4);
                bytes[0] = (uint8_t)(n - 4);
                bytes[4] = (uint8_t)(1 + check_random(&random) % 10);
            }
            feed(bytes, n);
        }
        if (w.nodes[0].closes > 0) check(is_reason(w.nodes[0].close_reason));
        close_all();
    }
}

/* A length that promises more than a link may hold is refused at once, not waited for. */
static void test_lengths(void)
{
    static const uint8_t huge[][5] = {{0xFF, 0xFF, 0xFF, 0xFF, 2}, {0x01, 0x00, 0x10, 0x00, 2}, {0, 0, 0, 0x80, 2}};
    for (size_t i = 0; i < 3; i++) {
        open_all();
        world_pass(&w, 300000);
        feed(huge[i], 5);
        check(strncmp(w.nodes[0].close_reason, "malformed bytes at offset ", 26) == 0);
        close_all();
    }
}

int main(void)
{
    driver_max_calls = 64;
    run(test_pieces);
    run(test_flips);
    run(test_trailing);
    run(test_random);
    run(test_lengths);
    return 0;
}
