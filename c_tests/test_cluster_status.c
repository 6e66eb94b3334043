/* hmkv_cluster_status: JSON, as jq reads it. */
#include "cluster.h"
#include "own_store.h"
#include "requests.h"
#include "status.h"

static void a_store_of_one_is_its_own_leader(void) {
  struct own_store own;
  own_store_open(&own, NULL);
  const char *key = unique("key");
  int64_t revision = put_text(own.kv, key, "0123456789");
  char *json = cluster_status(own.kv);
  check_members(json, "http://");
  CHECK_JSON(json, ".members | length == 1");
  CHECK_JSON(json, ".leader == .members[0].id and .members[0].reachable");
  CHECK_JSON(json, text(".members[0].revision == %" PRId64, revision));
  CHECK_JSON(json, text(".members[0].endpoint == \"%s\"", own.endpoint));
  CHECK_JSON(json, ".members[0] | .db_size >= .db_size_in_use and .db_size_in_use > 10");
  if (on_etcd()) {
    CHECK_JSON(json, ".members[0] | .raft_index > 0 and .raft_term > 0");
    CHECK_JSON(json, text(".members[0].client_urls == [\"%s\"]", own.endpoint));
  } else {
    CHECK_JSON(json, text(".members[0].name == \"%s\" and .members[0].version == \"%s\"",
                          own.endpoint, hmkv_version()));
    CHECK_JSON(json, text(".members[0].db_size == %zu", strlen(key) + 10));
  }
  hmkv_free(json);
  own_store_close(&own);
}

static void without_an_answer_it_is_unavailable(void) {
  hmkv *kv = open_at(text("%s,127.0.0.1:1", dead_endpoint()), "timeout=2s");
  char *json = (char *)"untouched";
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_cluster_status(kv, &json));
  CHECK(json == NULL);
  CHECK(strstr(hmkv_errmsg(), dead_endpoint()) && strstr(hmkv_errmsg(), "127.0.0.1:1"));
  close_store(kv);
}

static void *ask_until_closed(void *kv) {
  char *json = NULL;
  hmkv_status status;
  while ((status = hmkv_cluster_status(kv, &json)) == HMKV_OK) hmkv_free(json);
  CHECK(status == HMKV_ECLOSED || status == HMKV_EHANDLE);
  CHECK(json == NULL);
  return NULL;
}

static void closing_the_store_ends_it(void) {
  for (int i = 0; i < rounds(20, 3); i++) {
    hmkv *kv = open_store(NULL);
    pthread_t one = start_thread(ask_until_closed, kv);
    pthread_t two = start_thread(ask_until_closed, kv);
    char *json = cluster_status(kv);
    hmkv_free(json);
    close_store(kv);
    join_thread(one);
    join_thread(two);
  }
}

/* ---- a cluster ---- */

static void every_member_is_found_by_way_of_one(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  hmkv *kv = open_at(cluster.members[0].endpoint, "timeout=20s");
  char *json = cluster_status(kv);
  check_members(json, "http://");
  CHECK_JSON(json, "[.members[].name] | sort == [\"one\", \"three\", \"two\"]");
  CHECK_JSON(json, "all(.members[]; .reachable and [.endpoint] == .client_urls)");
  CHECK_JSON(json, text("[.leader] == [.members[] | select(.endpoint == \"%s\") | .id]",
                        cluster.members[cluster_leader(&cluster)].endpoint));
  hmkv_free(json);
  close_store(kv);
  cluster_stop(&cluster);
}

static void a_member_that_is_gone_or_hangs_is_not_reachable(void) {
  struct cluster cluster;
  cluster_start(&cluster);
  hmkv *kv = open_at(cluster_endpoints(&cluster, 0), "timeout=4s");
  server_kill(&cluster.members[1]);
  char *json = cluster_status(kv);
  check_members(json, "http://");
  CHECK_JSON(json, "(.members | length) == 3");
  CHECK_JSON(json, "[.members[] | select(.reachable | not) | .name] == [\"two\"]");
  hmkv_free(json);
  server_pause(&cluster.members[2]); /* no quorum is left */
  json = cluster_status(kv);
  check_members(json, "http://");
  CHECK_JSON(json, "[.members[] | select(.reachable) | .name] == [\"one\"]");
  hmkv_free(json);
  server_kill(&cluster.members[0]);
  CHECK_STATUS(HMKV_EUNAVAIL, hmkv_cluster_status(kv, &json));
  close_store(kv);
  cluster_stop(&cluster);
}

static const struct test tests[] = {
    BOTH(a_store_of_one_is_its_own_leader),
    BOTH(without_an_answer_it_is_unavailable),
    BOTH(closing_the_store_ends_it),
    ETCD_ONLY(every_member_is_found_by_way_of_one),
    ETCD_ONLY(a_member_that_is_gone_or_hangs_is_not_reachable),
};
TEST_MAIN()
