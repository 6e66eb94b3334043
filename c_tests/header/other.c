/* The other of two units that include the header and are linked together. */
#include "hmkv.h"

#include <string.h>

bool other_changed(const char *key, const char *value, hmkv_keychange op, void *userdata);
void other_state(hmkv_state state, const char *detail, void *userdata);
void other_log(int32_t level, const char *line, void *userdata);
int other_unit(void);

bool other_changed(const char *key, const char *value, hmkv_keychange op, void *userdata)
{
    return key && value && op != HMKV_KEYCHANGE_INVAL && userdata;
}

void other_state(hmkv_state state, const char *detail, void *userdata)
{
    (void)state, (void)detail, (void)userdata;
}

void other_log(int32_t level, const char *line, void *userdata)
{
    (void)level, (void)line, (void)userdata;
}

int other_unit(void)
{
    return strcmp(hmkv_status_name(HMKV_EINVAL), "HMKV_EINVAL") != 0;
}
