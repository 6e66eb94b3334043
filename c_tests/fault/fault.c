/* The cases of the fault bench; `run` has how to start one. */
#include "bench.h"

#define CASE(name, fn) {name, fn, ON_ETCD}

static const struct test tests[] = {
    CASE("leader-kill", leader_kill),
    CASE("cut-answer", cut_answer),
    CASE("watch-restart", watch_restart),
    CASE("watch-compact", watch_compact),
    CASE("quorum-loss", quorum_loss),
    CASE("lock", lock_case),
    CASE("member-dead", member_dead),
    CASE("temp-key", temp_key),
    CASE("watch-chaos", watch_chaos),
    CASE("watch-many", watch_many),
    CASE("auth", auth_case),
    CASE("idle", idle),
    CASE("soak", soak),
};
static const struct child children[] = {{"lock", lock_child}, {"temp-key", temp_key_child},
                                        {"idle", idle_child}, {"soak", soak_child},
                                        {NULL, NULL}};
TEST_MAIN(.children = children)
