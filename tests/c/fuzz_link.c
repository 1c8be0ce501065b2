/* libFuzzer's door: the bytes come over a greeted link. The first two say in which pieces they come, and whether there was a HELLO before. */
#include "driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    if (size < 2) return 0;
    world_open(&w, 2);
    node_start(&w, 0);
    node_start(&w, 1);
    world_link(&w, 1, 0);
    if (data[1] % 8 != 0) world_pass(&w, 300000);
    call_text(&w, 0, M_SELL, "shop1/tea", 1, 1000000); /* shipped, and not yet answered: a reply may come */
    wire *it = world_wire(&w, 0, 1);
    int end = it->ends[0] == 0 ? 0 : 1;
    it->to[end].n = 0;
    it->lag[1 - end] = SIZE_MAX;
    w.chunk = data[0];
    buffer_add(&it->to[end], data + 2, size - 2);
    world_settle(&w);
    world_cut(&w, 0, 1);
    call_ok(&w, 0, M_TITLE, "alive", 0);
    check(strcmp(node_inspect(&w, 0, "invariants"), "[]") == 0);
    world_close(&w);
    check_no_leak(&w);
    return 0;
}
