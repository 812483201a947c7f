/* SPDX-License-Identifier: Apache-2.0 */
/* check and config: is the configuration good, and what does it say? */
#include <stdio.h>
#include <unistd.h>

#include "fermata/config.h"
#include "options.h"
#include "terminal.h"

#define CHECK_DEFAULT_FILE "/etc/fermata/fermata.ini"

struct check_request {
    const char *file;
    struct option_list settings;
    bool defaults, effective;
};

/* The file that was named, or the usual one if it is there: fermata runs without any. */
static const char *check_file(const struct check_request *request)
{
    if (request->file)
        return request->file;
    return access(CHECK_DEFAULT_FILE, F_OK) == 0 ? CHECK_DEFAULT_FILE : NULL;
}

/* Loads, or prints what is wrong. */
static int check_load(const struct check_request *request, struct config **ret_config)
{
    struct fm_buf messages;

    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load(ret_config, check_file(request), request->settings.items,
                         request->settings.count, (const char *const *)environ, &messages);
    if (rc < 0 && rc != FM_ECONFIG)
        fm_buf_printf(&messages, "configuration: error: %s\n", fm_rc_text(rc));
    if (messages.len)
        (void)fwrite(messages.ptr, 1, messages.len, stderr);
    fm_buf_fini(&messages);
    return rc;
}

int tool_check(int argc, char **argv)
{
    struct check_request request = {0};
    const struct option rows[] = {
        {"config", OPTION_TEXT, &request.file, "FILE", "default: " CHECK_DEFAULT_FILE, NULL},
        {"set", OPTION_MANY, &request.settings, "KEY=VALUE", "section.key=value, wins", NULL},
    };
    const struct options options = {
        .verb = "check",
        .synopsis = "[--config FILE] [--set section.key=value]...",
        .summary = "Reads the configuration as the daemon would and prints every error in it.",
        .examples = "  fermata check\n"
                    "  fermata check --config ./fermata.ini --set query.endpoint=127.0.0.1:0\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
    };
    FM_AUTO(config) config = NULL;
    int exit;

    if (!options_parse(&options, argc, argv, NULL, &exit))
        return exit;
    if (check_load(&request, &config) < 0)
        return EXIT_CONFIGURATION;
    const char *file = check_file(&request);
    printf("%s: good\n", file ? file : "no file, the defaults");
    return EXIT_DONE;
}

int tool_config(int argc, char **argv)
{
    struct check_request request = {0};
    const struct option rows[] = {
        {"defaults", OPTION_FLAG, &request.defaults, NULL, "every setting with its default", NULL},
        {"effective", OPTION_FLAG, &request.effective, NULL, "what is in force here", NULL},
        {"config", OPTION_TEXT, &request.file, "FILE", "default: " CHECK_DEFAULT_FILE, NULL},
        {"set", OPTION_MANY, &request.settings, "KEY=VALUE", "section.key=value, wins", NULL},
    };
    const struct options options = {
        .verb = "config",
        .synopsis = "--defaults | --effective [--config FILE] [--set section.key=value]...",
        .summary = "Prints the configuration as an ini file.",
        .examples = "  fermata config --defaults > fermata.ini\n"
                    "  fermata config --effective --config ./fermata.ini\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
    };
    FM_AUTO(config) config = NULL;
    struct fm_buf out;
    int exit;

    if (!options_parse(&options, argc, argv, NULL, &exit))
        return exit;
    if (request.defaults == request.effective)
        return options_fail(&options, EXIT_WRONG_USAGE, "say --defaults or --effective");
    if (request.effective && check_load(&request, &config) < 0)
        return EXIT_CONFIGURATION;
    fm_buf_init(&out, FM_MIB(1));
    if (request.effective)
        config_put_effective(config, &out);
    else
        config_put_defaults(&out);
    terminal_flush(&out);
    fm_buf_fini(&out);
    return EXIT_DONE;
}
