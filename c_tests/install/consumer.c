/* The smallest program that shows that the installed library works. */
#include <hmkv.h>

#include <stdio.h>

int main(void)
{
    hmkv *kv;
    char *value = NULL;
    hmkv_status rc = hmkv_open("mem:", NULL, &kv);

    if (rc < 0) {
        fprintf(stderr, "open: %s: %s\n", hmkv_strerror(rc), hmkv_errmsg());
        return 1;
    }
    rc = hmkv_store(kv, "consumer/greeting", "hello");
    if (rc == HMKV_OK)
        rc = hmkv_get(kv, "consumer/greeting", &value);
    if (rc == HMKV_OK)
        printf("%s from libhmkv %s\n", value, HMKV_VERSION);
    else
        fprintf(stderr, "%s: %s\n", hmkv_status_name(rc), hmkv_errmsg());
    hmkv_free(value);
    return hmkv_close(kv) == HMKV_OK && rc == HMKV_OK ? 0 : 1;
}
