/* One of two units that include the header and are linked together. */
#include "hmkv.h"

#include <stdio.h>
#include <string.h>

/* Also pins the types of the callbacks for this language. */
bool other_changed(const char *key, const char *value, hmkv_keychange op, void *userdata);
void other_state(hmkv_state state, const char *detail, void *userdata);
void other_log(int32_t level, const char *line, void *userdata);
int other_unit(void);

int main(void)
{
    hmkv_watch_fn changed = other_changed;
    hmkv_state_fn state = other_state;
    hmkv_log_fn log = other_log;

    if (strcmp(hmkv_version(), HMKV_VERSION) != 0) {
        fprintf(stderr, "header %s, library %s\n", HMKV_VERSION, hmkv_version());
        return 1;
    }
    return changed && state && log ? other_unit() : 1;
}
