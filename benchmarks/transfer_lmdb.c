/* The same transfers in LMDB with MDB_NOSYNC|MDB_WRITEMAP: one write transaction each, integer keys. Argument: a folder. */
#include "drive.h"

#include <lmdb.h>

static MDB_env *env;
static MDB_dbi accounts;

static int64_t read_account(MDB_txn *txn, size_t number)
{
    MDB_val key = {sizeof number, &number}, value;
    int64_t have;
    must(mdb_get(txn, accounts, &key, &value) == 0, "get");
    memcpy(&have, value.mv_data, sizeof have);
    return have;
}

static void write_account(MDB_txn *txn, size_t number, int64_t have)
{
    MDB_val key = {sizeof number, &number}, value = {sizeof have, &have};
    must(mdb_put(txn, accounts, &key, &value, 0) == 0, "put");
}

static int transfer(size_t from, size_t to, int64_t amount)
{
    MDB_txn *txn;
    must(mdb_txn_begin(env, NULL, 0, &txn) == 0, "begin");
    int64_t have = read_account(txn, from);
    if (have < amount) {
        mdb_txn_abort(txn);
        return 0;
    }
    int64_t other = read_account(txn, to);
    write_account(txn, from, have - amount);
    write_account(txn, to, other + amount);
    return mdb_txn_commit(txn) == 0;
}

static void repeat(long count)
{
    for (long i = 0; i < count; i++) {
        uint32_t from = random_below(ACCOUNTS), to = (from + 1 + random_below(ACCOUNTS - 1)) % ACCOUNTS;
        must(transfer(from, to, 1), "transfer");
    }
}

int main(int count, char **arguments)
{
    MDB_txn *txn;
    must(count == 2, "argument: a folder");
    must(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, (size_t)64 << 20) == 0, "create");
    must(mdb_env_open(env, arguments[1], MDB_NOSYNC | MDB_WRITEMAP, 0600) == 0, "open");
    must(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &accounts) == 0, "begin");
    for (size_t i = 0; i < ACCOUNTS; i++) write_account(txn, i, 1000000000);
    must(mdb_txn_commit(txn) == 0, "commit");
    int result = serve(repeat);
    mdb_env_close(env);
    return result;
}
