/* The same transfers in SQLite in memory, from C with prepared statements. */
#include "drive.h"

#include <sqlite3.h>

static sqlite3 *db;
static sqlite3_stmt *begin, *take, *put, *commit, *rollback;

static sqlite3_stmt *prepared(const char *text)
{
    sqlite3_stmt *statement;
    must(sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK, text);
    return statement;
}

static void run(sqlite3_stmt *statement)
{
    must(sqlite3_step(statement) == SQLITE_DONE, sqlite3_errmsg(db));
    sqlite3_reset(statement);
}

static void update(sqlite3_stmt *statement, int64_t amount, int64_t number)
{
    sqlite3_bind_int64(statement, 1, amount);
    sqlite3_bind_int64(statement, 2, number);
    run(statement);
}

static int transfer(int64_t from, int64_t to, int64_t amount)
{
    run(begin);
    update(take, amount, from); /* its condition: enough is there */
    if (sqlite3_changes(db) != 1) {
        run(rollback);
        return 0;
    }
    update(put, amount, to);
    run(commit);
    return 1;
}

static void repeat(long count)
{
    for (long i = 0; i < count; i++) {
        uint32_t from = random_below(ACCOUNTS), to = (from + 1 + random_below(ACCOUNTS - 1)) % ACCOUNTS;
        must(transfer(from, to, 1), "transfer");
    }
}

int main(void)
{
    char text[128];
    must(sqlite3_open(":memory:", &db) == SQLITE_OK, "open");
    must(sqlite3_exec(db, "CREATE TABLE account(number INTEGER PRIMARY KEY, have INTEGER NOT NULL)", NULL, NULL, NULL) == SQLITE_OK, "table");
    for (int i = 0; i < ACCOUNTS; i++) {
        snprintf(text, sizeof text, "INSERT INTO account VALUES(%d, 1000000000)", i);
        must(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "account");
    }
    begin = prepared("BEGIN");
    take = prepared("UPDATE account SET have = have - ?1 WHERE number = ?2 AND have >= ?1");
    put = prepared("UPDATE account SET have = have + ?1 WHERE number = ?2");
    commit = prepared("COMMIT");
    rollback = prepared("ROLLBACK");
    return serve(repeat);
}
