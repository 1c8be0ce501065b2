/* Sales at a lone mirror in memory: `sell` of pos, with its steps. The clock is read and a turn is given every TURN_EVERY calls, as an
 * event loop does; in a turn `book` takes the sales from their queue and `reorder` looks for rows that run low. What ran out is delivered. */
#include "alone.h"
#include "pos_app.h"

#define ITEMS 36
#define TURN_EVERY 32
#define DELIVERED 500

static const char shop[] = "shop1";
static char items[ITEMS][16];
static size_t lengths[ITEMS];
static int64_t paid;

static void deliver(uint32_t item, int64_t now)
{
    pos_out_deliver out = {0};
    must(pos_call_deliver(core, now, TIMEOUT_US, shop, sizeof shop - 1, items[item], lengths[item], DELIVERED, &out) == GLAS_COMMITTED, "deliver");
}

static void sell(uint32_t item, int64_t now)
{
    pos_out_sell out = {0};
    must(pos_call_sell(core, now, TIMEOUT_US, items[item], lengths[item], 1, &out) == GLAS_COMMITTED, "sell");
    if (out.tag != 0) { /* sold out: deliver, and sell again */
        deliver(item, now);
        out = (pos_out_sell){0};
        must(pos_call_sell(core, now, TIMEOUT_US, items[item], lengths[item], 1, &out) == GLAS_COMMITTED && out.tag == 0, "sell");
    }
    paid += out.ok;
}

static void repeat(long count)
{
    int64_t now = clock_us();
    for (long i = 0; i < count; i++) {
        sell(random_below(ITEMS), now);
        if (i % TURN_EVERY != TURN_EVERY - 1) continue;
        give(GLAS_IN_TURN);
        drain();
        now = clock_us();
    }
    settle_all();
}

int main(void)
{
    open_alone(&pos_app, shop, 3);
    for (uint32_t i = 0; i < ITEMS; i++) {
        pos_out_set_price out = {0};
        lengths[i] = (size_t)snprintf(items[i], sizeof items[i], "article-%02u", i);
        must(pos_call_set_price(core, clock_us(), TIMEOUT_US, items[i], lengths[i], 100 + i, &out) == GLAS_COMMITTED, "set_price");
        deliver(i, clock_us());
    }
    settle_all();
    int result = serve(repeat);
    glas_close(core);
    return result;
}
