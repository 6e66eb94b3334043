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

static hmkv_op *ranged(const hmkv_range_opts *opts)
{
    return hmkv_range(NULL, "key", HMKV_NTS, opts);
}

/* Options as each language makes them. */
static hmkv_op *with_options(void)
{
#ifdef __cplusplus
    hmkv_range_opts o = {};
    o.size = sizeof o;
    o.prefix = 1;
    return ranged(&o);
#else
    return ranged(HMKV_RANGE_OPTS(.prefix = 1));
#endif
}

int other_unit(void)
{
    if (hmkv_cancel(with_options()) != HMKV_EHANDLE)
        return 1;
    return strcmp(hmkv_status_name(HMKV_EINVAL), "HMKV_EINVAL") != 0;
}
