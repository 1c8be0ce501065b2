/* The tiny app by hand: what glasc would generate for it. */
#include "tiny_app.h"

/* ------------------------------------------------------------------ types */

static bool copy_args(glas_heap *heap, void *to, const void *from)
{
    const tiny_args *source = from;
    tiny_args *target = to;
    target->n = source->n;
    return glas_copy_text(heap, &target->text, source->text);
}

static void drop_args(glas_heap *heap, void *value) { glas_drop_text(heap, &((tiny_args *)value)->text); }

static void put_args(glas_writer *writer, const void *value)
{
    const tiny_args *args = value;
    glas_put_text(writer, args->text);
    glas_put_int(writer, args->n);
}

static bool take_args(glas_reader *reader, void *value)
{
    tiny_args *args = value;
    return glas_take_text(reader, &args->text) && glas_take_int(reader, &args->n);
}

static void args_to_json(glas_writer *writer, const void *value)
{
    const tiny_args *args = value;
    glas_json_put(writer, "{\"text\":");
    glas_json_put_text(writer, args->text);
    glas_json_put(writer, ",\"n\":");
    glas_json_put_int(writer, args->n);
    glas_json_put(writer, "}");
}

static bool args_from_json(glas_json *json, void *value)
{
    static const glas_text names[] = {{"text", 4}, {"n", 1}};
    tiny_args *args = value;
    glas_text key;
    uint64_t seen = 0;
    if (!glas_json_open(json)) return false;
    while (glas_json_key(json, &key)) {
        int field = glas_json_field(json, key, names, 2, &seen);
        bool ok = field == 0 ? glas_json_take_text(json, &args->text) : field == 1 && glas_json_take_int(json, &args->n);
        if (!ok) return false;
    }
    return glas_json_closed(json) && seen == 3;
}

static const glas_type type_args = {.name = "(text: Text, n: Int)", .size = sizeof(tiny_args), .copy = copy_args, .drop = drop_args,
                                    .put = put_args, .take = take_args, .to_json = args_to_json, .from_json = args_from_json};

static bool copy_result(glas_heap *heap, void *to, const void *from)
{
    const tiny_result *source = from;
    tiny_result *target = to;
    target->n = source->n;
    return glas_copy_text(heap, &target->text, source->text);
}

static void drop_result(glas_heap *heap, void *value) { glas_drop_text(heap, &((tiny_result *)value)->text); }

static void put_result(glas_writer *writer, const void *value)
{
    const tiny_result *result = value;
    glas_put_int(writer, result->n);
    glas_put_text(writer, result->text);
}

static bool take_result(glas_reader *reader, void *value)
{
    tiny_result *result = value;
    return glas_take_int(reader, &result->n) && glas_take_text(reader, &result->text);
}

static void result_to_json(glas_writer *writer, const void *value)
{
    const tiny_result *result = value;
    glas_json_put(writer, "{\"n\":");
    glas_json_put_int(writer, result->n);
    glas_json_put(writer, ",\"text\":");
    glas_json_put_text(writer, result->text);
    glas_json_put(writer, "}");
}

static const glas_type type_result = {.name = "(n: Int, text: Text)", .size = sizeof(tiny_result), .copy = copy_result, .drop = drop_result,
                                      .put = put_result, .take = take_result, .to_json = result_to_json};

/* ------------------------------------------------------------------ methods */

#define ARGS const tiny_args *args = arguments; tiny_result *result = outcome; (void)args; (void)result
#define METHOD(name) static glas_status name(glas_txn *txn, const void *arguments, void *outcome)
#define TRY(call) do { glas_status tried = (call); if (tried != GLAS_OK) return tried; } while (0)

METHOD(run_start)
{
    (void)arguments, (void)outcome;
    int64_t seven = 7;
    TRY(glas_cell_set(txn, S_RATE, &seven));
    return glas_bounded_add(txn, S_VOUCHER, NULL, 10, "tiny:1");
}

METHOD(run_book)
{
    (void)arguments, (void)outcome;
    glas_text item;
    int64_t seen = 0, memo;
    TRY(glas_queue_read(txn, S_SALES, &item));
    glas_status status = glas_row_get(txn, S_BOOKED, &item, &seen);
    if (status != GLAS_OK && status != GLAS_FAIL) return status;
    seen++;
    TRY(glas_row_set(txn, S_BOOKED, &item, &seen));
    TRY(glas_cell_get(txn, S_MEMO, &memo));
    memo++;
    return glas_cell_set(txn, S_MEMO, &memo);
}

METHOD(run_title) { ARGS; return glas_cell_set(txn, S_TITLE, &args->text); }
METHOD(run_get_title) { ARGS; return glas_cell_get(txn, S_TITLE, &result->text); }
METHOD(run_rate) { ARGS; return glas_cell_set(txn, S_RATE, &args->n); }
METHOD(run_get_rate) { ARGS; return glas_cell_get(txn, S_RATE, &result->n); }
METHOD(run_stock) { ARGS; return glas_row_set(txn, S_STOCK, &args->text, &args->n); }
METHOD(run_get_stock) { ARGS; return glas_row_get(txn, S_STOCK, &args->text, &result->n); }

METHOD(run_sell)
{
    ARGS;
    int64_t left;
    TRY(glas_row_get(txn, S_STOCK, &args->text, &left));
    if (left < args->n) return GLAS_FAIL;
    TRY(glas_sub(txn, left, args->n, &left, "tiny:2"));
    TRY(glas_row_set(txn, S_STOCK, &args->text, &left));
    TRY(glas_counter_add(txn, S_REVENUE, NULL, args->n, "tiny:3"));
    TRY(glas_queue_write(txn, S_SALES, &args->text));
    result->n = left;
    return GLAS_OK;
}

METHOD(run_earn) { ARGS; return glas_counter_add(txn, S_REVENUE, NULL, args->n, "tiny:4"); }
METHOD(run_gain) { ARGS; return glas_bounded_add(txn, S_VOUCHER, NULL, args->n, "tiny:5"); }
METHOD(run_spend) { ARGS; return glas_bounded_add(txn, S_RIGHTS, &args->text, args->n, "tiny:6"); }
METHOD(run_visit) { ARGS; return glas_counter_add(txn, S_VISITS, &args->text, args->n, "tiny:7"); }
METHOD(run_note) { ARGS; return glas_queue_write(txn, S_SALES, &args->text); }
METHOD(run_ticket) { ARGS; return glas_queue_write(txn, S_TICKETS, &args->text); }
METHOD(run_take) { ARGS; return glas_queue_read(txn, S_TICKETS, &result->text); }

/* Takes `n` from any row here that has as much; waits while there is none. */
METHOD(run_pick)
{
    ARGS;
    glas_choice choice;
    int64_t value;
    TRY(glas_choose_begin(txn, S_STOCK, 0, &choice));
    while (glas_choose_next(&choice, &result->text, &value)) {
        if (value < args->n) continue;
        glas_choose_take(&choice);
        value -= args->n;
        result->n = value;
        return glas_row_set(txn, S_STOCK, &result->text, &value);
    }
    return GLAS_WAIT;
}

METHOD(run_total)
{
    ARGS;
    glas_rows rows;
    glas_text key, before = {NULL, 0};
    int64_t value;
    TRY(glas_rows_begin(txn, S_STOCK, &rows));
    while (glas_rows_next(&rows, &key, &value)) {
        if (before.n != 0 && glas_text_compare(before, key) >= 0) return glas_error(txn, "tiny:8", GLAS_TEXT("rows out of order"));
        before = key;
        TRY(glas_add(txn, result->n, value, &result->n, "tiny:9"));
    }
    return GLAS_OK;
}

static glas_status change_everything(glas_txn *txn, glas_text text)
{
    glas_text item, fresh;
    int64_t number = 4711;
    TRY(glas_cell_set(txn, S_TITLE, &text));
    TRY(glas_cell_set(txn, S_RATE, &number));
    TRY(glas_row_set(txn, S_STOCK, &text, &number));
    TRY(glas_row_set(txn, S_STOCK, &text, &number));
    TRY(glas_join(txn, (glas_text[]){text, GLAS_TEXT("/new")}, 2, &fresh));
    TRY(glas_row_set(txn, S_STOCK, &fresh, &number));
    TRY(glas_row_set(txn, S_BOOKED, &fresh, &number));
    TRY(glas_counter_add(txn, S_REVENUE, NULL, 5, "tiny:10"));
    TRY(glas_counter_add(txn, S_VISITS, &fresh, 5, "tiny:11"));
    TRY(glas_bounded_add(txn, S_VOUCHER, NULL, 5, "tiny:12"));
    TRY(glas_bounded_add(txn, S_RIGHTS, &fresh, 5, "tiny:13"));
    TRY(glas_queue_write(txn, S_TICKETS, &text));
    TRY(glas_queue_read(txn, S_TICKETS, &item));
    TRY(glas_queue_write(txn, S_TICKETS, &fresh));
    TRY(glas_log(txn, text));
    return GLAS_OK;
}

/* Changes everything, undoes that, then: 1 succeeds with one change, 2 fails, 3 errs. 0 keeps what it changed. */
METHOD(run_undo)
{
    ARGS;
    TRY(glas_counter_add(txn, S_VISITS, &args->text, 1, "tiny:14"));
    glas_mark mark = glas_save(txn);
    TRY(change_everything(txn, args->text));
    if (args->n == 0) return GLAS_OK;
    glas_undo(txn, mark);
    if (args->n == 2) return GLAS_FAIL;
    if (args->n == 3) return glas_error(txn, "tiny:15", GLAS_TEXT("on purpose"));
    return GLAS_OK;
}

METHOD(run_overflow)
{
    ARGS;
    TRY(change_everything(txn, args->text));
    if (args->n == 0) return glas_div(txn, 1, 0, &result->n, "tiny:16");
    return glas_mul(txn, INT64_MAX, args->n, &result->n, "tiny:17");
}

/* A text of `n` kilobytes, into the title, and as a queue item. */
METHOD(run_big)
{
    ARGS;
    static char kilobyte[1024];
    if (args->n < 0 || args->n > 100000) return GLAS_FAIL;
    memset(kilobyte, 'k', sizeof kilobyte);
    glas_text big = {NULL, 0}, parts[64];
    for (int64_t left = args->n; left > 0;) {
        size_t count = 1;
        parts[0] = big;
        for (; left > 0 && count < 64; left--) parts[count++] = (glas_text){kilobyte, sizeof kilobyte};
        TRY(glas_join(txn, parts, count, &big));
    }
    TRY(glas_queue_write(txn, S_SALES, &big));
    result->n = big.n;
    return GLAS_OK;
}

/* A row of a shop and the title of headquarters: units of several mirrors. */
METHOD(run_both)
{
    ARGS;
    TRY(glas_row_set(txn, S_STOCK, &args->text, &args->n));
    return glas_cell_set(txn, S_TITLE, &args->text);
}

METHOD(run_poke)
{
    ARGS;
    TRY(glas_cell_get(txn, S_MEMO, &result->n));
    TRY(glas_add(txn, result->n, args->n, &result->n, "tiny:18"));
    return glas_cell_set(txn, S_MEMO, &result->n);
}

/* Makes `n` new rows for each row that was not made so, while going over them. */
METHOD(run_grow)
{
    ARGS;
    glas_rows rows;
    glas_text key, number, name;
    int64_t value;
    TRY(glas_rows_begin(txn, S_STOCK, &rows));
    while (glas_rows_next(&rows, &key, &value)) {
        if (memchr(key.p, '+', key.n) != NULL) continue;
        for (int64_t i = 0; i < args->n; i++) {
            TRY(glas_int_to_text(txn, i, &number));
            TRY(glas_join(txn, (glas_text[]){key, GLAS_TEXT("+"), number}, 3, &name));
            TRY(glas_row_set(txn, S_STOCK, &name, &value));
        }
        result->n++;
    }
    return GLAS_OK;
}

METHOD(run_echo)
{
    ARGS;
    (void)txn;
    result->text = args->text;
    result->n = args->n;
    return GLAS_OK;
}

METHOD(run_sums)
{
    ARGS;
    int64_t voucher;
    TRY(glas_counter_get(txn, S_REVENUE, NULL, &result->n, "tiny:19"));
    TRY(glas_bounded_get(txn, S_VOUCHER, NULL, &voucher, "tiny:20"));
    return glas_int_to_text(txn, voucher, &result->text);
}

METHOD(run_news) { ARGS; return glas_cell_set(txn, S_NEWS, &args->text); }

METHOD(run_get_news)
{
    ARGS;
    return glas_cell_get(txn, S_NEWS, &result->text);
}

/* Many changes in one transaction. */
METHOD(run_churn)
{
    ARGS;
    for (int64_t i = 0; i < args->n; i++) TRY(glas_counter_add(txn, S_VISITS, &args->text, i % 2 == 0 ? INT64_MAX : INT64_MIN, "tiny:21"));
    return GLAS_OK;
}

METHOD(run_http_sell)
{
    glas_http_reply *reply = outcome;
    const glas_text *item = arguments;
    glas_text body;
    TRY(glas_request_body(txn, &body));
    TRY(glas_queue_write(txn, S_SALES, item));
    TRY(glas_counter_add(txn, S_REVENUE, NULL, 1, "tiny:22"));
    *reply = (glas_http_reply){.status = 200, .content_type = {"text/plain", 10}, .body = body};
    return GLAS_OK;
}

METHOD(run_http_wait)
{
    glas_http_reply *reply = outcome;
    (void)arguments;
    TRY(glas_queue_read(txn, S_TICKETS, &reply->body));
    reply->status = 200;
    return GLAS_OK;
}

METHOD(run_bound)
{
    (void)arguments, (void)outcome;
    glas_rows rows;
    glas_text key;
    int64_t value;
    TRY(glas_bounded_get(txn, S_VOUCHER, NULL, &value, "tiny:23"));
    if (value < 0) return GLAS_FAIL;
    TRY(glas_rows_begin(txn, S_RIGHTS, &rows));
    while (glas_rows_next(&rows, &key, &value))
        if (value < 0) return GLAS_FAIL;
    return GLAS_OK;
}

/* ------------------------------------------------------------------ tables */

static glas_text shop_of(const void *key)
{
    const glas_text *text = key;
    uint32_t n = 0;
    while (n < text->n && text->p[n] != '/') n++;
    return (glas_text){text->p, n};
}

static const glas_state_info states[S_COUNT] = {
    [S_TITLE] = {.name = "db.title", .kind = GLAS_CELL, .persistent = true, .rule = GLAS_AT_PLACE, .value = &glas_type_text},
    [S_RATE] = {.name = "db.rate", .kind = GLAS_CELL, .persistent = true, .rule = GLAS_AT_PLACE, .stale_us = TINY_STALE_US, .value = &glas_type_int},
    [S_STOCK] = {.name = "db.stock", .kind = GLAS_DICT, .persistent = true, .rule = GLAS_BY_KEY, .place = 1, .owner_name = shop_of,
                 .key = &glas_type_text, .value = &glas_type_int},
    [S_SALES] = {.name = "db.sales", .kind = GLAS_QUEUE, .persistent = true, .rule = GLAS_AT_PLACE, .value = &glas_type_text},
    [S_BOOKED] = {.name = "db.booked", .kind = GLAS_DICT, .persistent = true, .rule = GLAS_AT_PLACE, .key = &glas_type_text, .value = &glas_type_int},
    [S_REVENUE] = {.name = "db.revenue", .kind = GLAS_COUNTER, .persistent = true, .rule = GLAS_OWNERLESS},
    [S_VOUCHER] = {.name = "db.voucher", .kind = GLAS_BOUNDED, .persistent = true, .rule = GLAS_OWNERLESS},
    [S_RIGHTS] = {.name = "db.rights", .kind = GLAS_DICT_BOUNDED, .persistent = true, .rule = GLAS_OWNERLESS, .key = &glas_type_text},
    [S_VISITS] = {.name = "db.visits", .kind = GLAS_DICT_COUNTER, .persistent = true, .rule = GLAS_OWNERLESS, .key = &glas_type_text},
    [S_TICKETS] = {.name = "db.tickets", .kind = GLAS_QUEUE, .persistent = true, .rule = GLAS_AT_PLACE, .value = &glas_type_text},
    [S_MEMO] = {.name = "mem.memo", .kind = GLAS_CELL, .rule = GLAS_AT_PLACE, .value = &glas_type_int},
    [S_NEWS] = {.name = "db.news", .kind = GLAS_CELL, .persistent = true, .rule = GLAS_AT_PLACE, .place = 2, .stale_us = 10 * TINY_STALE_US,
                .value = &glas_type_text},
};

#define READS(...) .reads = {__VA_ARGS__}
#define BIT(state) (UINT64_C(1) << (state))
#define EFFECTS(list) .effects = list, .effect_count = sizeof list / sizeof *list
#define NEEDS(list) .needs = list, .needs_count = sizeof list / sizeof *list
#define RPC(id, function) .name = id, .title = "rpc " id, .kind = GLAS_RPC_METHOD, .run = function, .args = &type_args, .result = &type_result

static const uint16_t at_title[] = {S_TITLE}, at_rate[] = {S_RATE}, at_book[] = {S_SALES, S_BOOKED, S_MEMO}, at_tickets[] = {S_TICKETS}, at_memo[] = {S_MEMO},
                      at_news[] = {S_NEWS};
static const glas_effect start_effects[] = {{S_RATE, true, false}, {S_VOUCHER, true, false}},
                         book_effects[] = {{S_SALES, true, true}, {S_BOOKED, true, false}, {S_MEMO, true, false}},
                         title_effects[] = {{S_TITLE, true, false}}, rate_effects[] = {{S_RATE, true, false}}, stock_effects[] = {{S_STOCK, true, false}},
                         sell_effects[] = {{S_STOCK, true, false}, {S_REVENUE, true, false}, {S_SALES, true, false}},
                         earn_effects[] = {{S_REVENUE, true, false}}, gain_effects[] = {{S_VOUCHER, true, false}}, spend_effects[] = {{S_RIGHTS, true, false}},
                         visit_effects[] = {{S_VISITS, true, false}}, note_effects[] = {{S_SALES, true, false}}, ticket_effects[] = {{S_TICKETS, true, false}},
                         take_effects[] = {{S_TICKETS, true, true}}, memo_effects[] = {{S_MEMO, true, false}}, news_effects[] = {{S_NEWS, true, false}},
                         both_effects[] = {{S_STOCK, true, false}, {S_TITLE, true, false}}, grow_effects[] = {{S_STOCK, false, false}},
                         churn_effects[] = {{S_VISITS, false, false}}, http_effects[] = {{S_SALES, true, false}, {S_REVENUE, true, false}},
                         all_effects[] = {{S_TITLE, false, false}, {S_RATE, false, false}, {S_STOCK, false, false}, {S_BOOKED, false, false},
                                          {S_REVENUE, false, false}, {S_VISITS, false, false}, {S_VOUCHER, false, false}, {S_RIGHTS, false, false},
                                          {S_TICKETS, false, true}, {S_TICKETS, false, false}};
static const glas_segment sell_path[] = {{{"sell", 4}, false}, {{"item", 4}, true}}, wait_path[] = {{{"wait", 4}, false}};

static bool copy_items(glas_heap *heap, void *to, const void *from) { return glas_copy_text(heap, to, *(const glas_text *)from); }
static void drop_items(glas_heap *heap, void *value) { glas_drop_text(heap, value); }
static void put_items(glas_writer *writer, const void *value) { glas_put_text(writer, *(const glas_text *)value); }
static bool take_items(glas_reader *reader, void *value) { return glas_take_text(reader, value); }
static const glas_type type_items = {.name = "(item: Text)", .size = sizeof(glas_text), .copy = copy_items, .drop = drop_items, .put = put_items, .take = take_items};

static const glas_method_info methods[M_COUNT] = {
    [M_START] = {.name = "start", .title = "start", .kind = GLAS_START, .run = run_start, .args = &glas_type_unit, .result = &glas_type_unit,
                 NEEDS(at_rate), EFFECTS(start_effects)},
    [M_BOOK] = {.name = "book", .title = "step book", .kind = GLAS_STEP, .run = run_book, .args = &glas_type_unit, .result = &glas_type_unit,
                NEEDS(at_book), EFFECTS(book_effects), READS(BIT(S_SALES) | BIT(S_BOOKED))},
    [M_TITLE] = {RPC("title", run_title), NEEDS(at_title), EFFECTS(title_effects)},
    [M_GET_TITLE] = {RPC("get_title", run_get_title), NEEDS(at_title)},
    [M_RATE] = {RPC("rate", run_rate), NEEDS(at_rate), EFFECTS(rate_effects)},
    [M_GET_RATE] = {RPC("get_rate", run_get_rate)},
    [M_STOCK] = {RPC("stock", run_stock), EFFECTS(stock_effects)},
    [M_GET_STOCK] = {RPC("get_stock", run_get_stock)},
    [M_SELL] = {RPC("sell", run_sell), EFFECTS(sell_effects)},
    [M_EARN] = {RPC("earn", run_earn), EFFECTS(earn_effects)},
    [M_GAIN] = {RPC("gain", run_gain), EFFECTS(gain_effects)},
    [M_SPEND] = {RPC("spend", run_spend), EFFECTS(spend_effects)},
    [M_VISIT] = {RPC("visit", run_visit), EFFECTS(visit_effects)},
    [M_NOTE] = {RPC("note", run_note), EFFECTS(note_effects)},
    [M_TICKET] = {RPC("ticket", run_ticket), EFFECTS(ticket_effects)},
    [M_TAKE] = {RPC("take", run_take), NEEDS(at_tickets), EFFECTS(take_effects), READS(BIT(S_TICKETS))},
    [M_PICK] = {RPC("pick", run_pick), EFFECTS(stock_effects), READS(BIT(S_STOCK))},
    [M_TOTAL] = {RPC("total", run_total)},
    [M_UNDO] = {RPC("undo", run_undo), EFFECTS(all_effects), READS(BIT(S_TICKETS))},
    [M_OVERFLOW] = {RPC("overflow", run_overflow), EFFECTS(all_effects)},
    [M_BIG] = {RPC("big", run_big), EFFECTS(note_effects)},
    [M_BOTH] = {RPC("both", run_both), EFFECTS(both_effects)},
    [M_POKE] = {RPC("poke", run_poke), NEEDS(at_memo), EFFECTS(memo_effects)},
    [M_GROW] = {RPC("grow", run_grow), EFFECTS(grow_effects)},
    [M_ECHO] = {RPC("echo", run_echo), NEEDS(at_title)},
    [M_SUMS] = {RPC("sums", run_sums)},
    [M_NEWS] = {RPC("news", run_news), NEEDS(at_news), EFFECTS(news_effects)},
    [M_GET_NEWS] = {RPC("get_news", run_get_news)},
    [M_CHURN] = {RPC("churn", run_churn), EFFECTS(churn_effects)},
    [M_HTTP_SELL] = {.name = "http_sell", .title = "http POST /sell/{item}", .kind = GLAS_HTTP_METHOD, .run = run_http_sell, .args = &type_items,
                     .result = &glas_type_reply, .verb = "POST", .path = sell_path, .path_count = 2, NEEDS(at_title), EFFECTS(http_effects)},
    [M_HTTP_WAIT] = {.name = "http_wait", .title = "http GET /wait", .kind = GLAS_HTTP_METHOD, .run = run_http_wait, .args = &glas_type_unit,
                     .result = &glas_type_reply, .verb = "GET", .path = wait_path, .path_count = 1, NEEDS(at_tickets), EFFECTS(take_effects),
                     READS(BIT(S_TICKETS))},
    [M_BOUND] = {.name = "bound", .title = "invariant bound", .kind = GLAS_INVARIANT, .run = run_bound, .args = &glas_type_unit, .result = &glas_type_unit},
};

static const char *const places[] = {"hq", "shop", "depot"};
static const bool many[] = {false, true, true};

const glas_app tiny_app = {
    .interface = GLAS_APP_INTERFACE, .name = "tiny", .version = "1.0", .protocol_id = {1, 2, 3}, .plan = "{}", .places = places, .place_many = many,
    .place_count = 3, .states = states, .state_count = S_COUNT, .methods = methods, .method_count = M_COUNT, .choose_sites = 1,
};
