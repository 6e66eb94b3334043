#include "status.h"

#include "process.h"

char *cluster_status(hmkv *kv) {
  char *json = NULL;
  CHECK_OK(hmkv_cluster_status(kv, &json));
  CHECK(json && !strchr(json, '\n'));
  return json;
}

bool json_holds(const char *json, const char *filter) {
  const char *const command[] = {"jq", "-e", filter, NULL};
  char said[16384];
  return process_accepts(command, json, said, sizeof said);
}

void check_members(const char *json, const char *scheme) {
  CHECK_JSON(json, "keys == [\"cluster_id\", \"leader\", \"members\"]");
  CHECK_JSON(json, ".cluster_id | test(\"^[0-9a-f]+$\")");
  CHECK_JSON(json, "([.members[].id] | unique | length) == (.members | length)");
  CHECK_JSON(json, "all(.members[]; keys == ([\"id\", \"name\", \"peer_urls\", \"client_urls\","
                   "\"is_learner\", \"reachable\", \"error\", \"endpoint\", \"version\","
                   "\"db_size\", \"db_size_in_use\", \"raft_index\", \"raft_term\","
                   "\"revision\"] | sort))");
  CHECK_JSON(json, "all(.members[]; (.id | test(\"^[0-9a-f]+$\")) and (.name | type) == \"string\""
                   " and .is_learner == false and (.reachable | type) == \"boolean\")");
  CHECK_JSON(json, "all(.members[]; .peer_urls | all(startswith(\"http://\")))");
  CHECK_JSON(json, text("all(.members[]; .client_urls | all(startswith(\"%s\")))", scheme));
  CHECK_JSON(json, "all(.members[] | select(.reachable); .error == null"
                   " and (.endpoint | type) == \"string\" and (.version | test(\"^[0-9]+[.][0-9]+\"))"
                   " and ([.db_size, .db_size_in_use, .raft_index, .raft_term, .revision]"
                   " | all(type == \"number\" and . >= 0)))");
  CHECK_JSON(json, "all(.members[] | select(.reachable | not); (.error | length) > 0"
                   " and ([.endpoint, .version, .db_size, .db_size_in_use, .raft_index,"
                   " .raft_term, .revision] | all(. == null)))");
  CHECK(!json_holds(json, ".members == []"));
}
