/* quickstart [ENDPOINT]: store a value, read it, change it if it is still the same. */
#include <hmkv.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    hmkv *kv = NULL;
    char *value = NULL;

    hmkv_status rc = hmkv_open(argc > 1 ? argv[1] : "mem:", NULL, &kv);
    if (rc < 0)
        goto done;

    rc = hmkv_store(kv, "quickstart/color", "red");
    if (rc < 0)
        goto done;

    rc = hmkv_get(kv, "quickstart/color", &value);
    if (rc < 0)
        goto done;
    printf("the color is %s\n", rc == HMKV_OK ? value : "gone");

    /* Test and set: only if nobody changed it meanwhile, as one atomic step. */
    rc = hmkv_tas(kv, "quickstart/color", "red", "blue");
    if (rc < 0)
        goto done;
    printf("test and set: %s\n", rc == HMKV_OK ? "now it is blue" : "somebody was faster");

done:
    if (rc < 0)
        fprintf(stderr, "quickstart: %s: %s\n", hmkv_strerror(rc), hmkv_errmsg());
    hmkv_free(value);
    hmkv_close(kv);
    return rc < 0;
}
