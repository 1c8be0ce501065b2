/* The limit for sales: the same looks into hash tables with text keys and the same sums by hand, with no transaction, undo, queue, step,
 * owner or replica. */
#include "drive.h"

#define ITEMS 36
#define SLOTS 128
#define DELIVERED 500

typedef struct row {
    char key[32]; /* of stock: shop, a zero, item */
    size_t n;
    int64_t value;
} row;

static row prices[SLOTS], stock[SLOTS];
static int64_t revenue;
static const char shop[] = "shop1";
static char items[ITEMS][16];
static size_t lengths[ITEMS];

static uint64_t hash(const char *key, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)key[i]) * 1099511628211u;
    return h ^ (h >> 32);
}

static row *find(row *table, const char *key, size_t n)
{
    for (uint64_t at = hash(key, n);; at++) {
        row *here = &table[at % SLOTS];
        if (here->n == n && memcmp(here->key, key, n) == 0) return here;
        if (here->n == 0) {
            memcpy(here->key, key, n);
            here->n = n;
            return here;
        }
    }
}

__attribute__((noinline)) static int64_t sell(const char *item, size_t n, int64_t qty)
{
    char line[32];
    memcpy(line, shop, sizeof shop);
    memcpy(line + sizeof shop, item, n);
    row *price = find(prices, item, n), *left = find(stock, line, sizeof shop + n);
    if (left->value < qty) left->value += DELIVERED;
    left->value -= qty;
    revenue += qty * price->value;
    return qty * price->value;
}

static void repeat(long count)
{
    int64_t before = revenue, paid = 0;
    for (long i = 0; i < count; i++) {
        uint32_t item = random_below(ITEMS);
        paid += sell(items[item], lengths[item], 1);
    }
    must(revenue - before == paid, "sums");
}

int main(void)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        lengths[i] = (size_t)snprintf(items[i], sizeof items[i], "article-%02u", i);
        find(prices, items[i], lengths[i])->value = 100 + i;
    }
    return serve(repeat);
}
