/* Transfers at a lone mirror in memory: `transfer` of bank.glas between two of its accounts. */
#include "alone.h"
#include "bank_app.h"

#define CLOCK_EVERY 32 /* calls between two looks at the clock, as an event loop does */

static void repeat(long count)
{
    int64_t now = clock_us();
    for (long i = 0; i < count; i++) {
        bank_out_transfer out = {0};
        uint32_t from = random_below(ACCOUNTS), to = (from + 1 + random_below(ACCOUNTS - 1)) % ACCOUNTS;
        int32_t outcome = bank_call_transfer(core, now, TIMEOUT_US, from, to, 1, &out);
        must(outcome == GLAS_COMMITTED, "transfer");
        if (i % CLOCK_EVERY == CLOCK_EVERY - 1) now = clock_us();
    }
    settle_all();
}

int main(void)
{
    open_alone(&bank_app, "bank", 1);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        bank_out_open out = {0};
        must(bank_call_open(core, clock_us(), TIMEOUT_US, i, 1000000000, &out) == GLAS_COMMITTED, "open");
    }
    settle_all();
    int result = serve(repeat);
    glas_close(core);
    return result;
}
