// daemon_cpp - a C++17 daemon on the C interface
//
//   daemon_cpp [ENDPOINT [PREFIX]]
//
// It drives a lamp: PREFIX/wanted says which color it is to show, the daemon
// makes it so and stores the color under PREFIX/actual. Without the key the lamp
// is off. PREFIX/alive is there as long as the daemon is. SIGTERM or SIGINT end
// it cleanly. On `mem:`, where no other process can turn the lamp, a thread does
// so and asks for the shutdown at last.
#include <hmkv.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

// ----------------------------------------------------------------- the library

// Owners of what the library hands out; each costs no more than the pointer.
struct CloseStore {
    void operator()(hmkv *kv) const noexcept { hmkv_close(kv); }
};
struct CancelWatch {
    void operator()(hmkv_watcher *watcher) const noexcept { hmkv_watch_cb_cancel(watcher); }
};
struct FreeText {
    void operator()(char *text) const noexcept { hmkv_free(text); }
};
using Store = std::unique_ptr<hmkv, CloseStore>;
using Watch = std::unique_ptr<hmkv_watcher, CancelWatch>;
using Text = std::unique_ptr<char, FreeText>;

// Throws on failure; what is positive is an answer and comes back.
static hmkv_status check(hmkv_status rc, const std::string &what)
{
    if (rc < 0)
        throw std::runtime_error(what + ": " + hmkv_strerror(rc) + ": " + hmkv_errmsg());
    return rc;
}

static Store open_store(const std::string &endpoint, const char *options)
{
    hmkv *kv = nullptr;
    check(hmkv_open(endpoint.c_str(), options, &kv), "open");
    return Store(kv);
}

static std::optional<std::string> get(hmkv *kv, const std::string &key)
{
    char *value = nullptr;
    hmkv_status rc = check(hmkv_get(kv, key.c_str(), &value), "get " + key);
    Text owner(value);
    return rc == HMKV_OK ? std::optional<std::string>(value) : std::nullopt;
}

static void put(hmkv *kv, const std::string &key, const std::string &value)
{
    check(hmkv_store(kv, key.c_str(), value.c_str()), "store " + key);
}

// ----------------------------------------------------------------- the daemon

class Lamp {
public:
    Lamp(const std::string &endpoint, const std::string &prefix)
        : wanted_(prefix + "/wanted"),
          actual_(prefix + "/actual"),
          // At the start wait for the server; a supervisor may try again later.
          store_(open_store(endpoint, "wait=10s, timeout=2s, temp_ttl=5s"))
    {
        check(hmkv_temp_key(store_.get(), (prefix + "/alive").c_str()), "presence");
        worker_ = std::thread(&Lamp::run, this);
    }

    Lamp(const Lamp &) = delete;
    Lamp &operator=(const Lamp &) = delete;

    ~Lamp()
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        worker_.join();
        // Then the members end, the last first: once the watch is cancelled its
        // callback does not run, so mutex and queue may go; the store closes,
        // and the presence key is gone.
    }

private:
    // nullopt: the watch has ended.
    using Change = std::optional<std::string>;

    // The library knows C functions only: this one leads to the object. No
    // exception may leave a callback, and noexcept holds to that.
    static bool on_change(const char *, const char *value, hmkv_keychange op, void *self) noexcept
    {
        return static_cast<Lamp *>(self)->changed(value, op);
    }

    // On a thread of the library: be quick, leave the work to the worker.
    bool changed(const char *value, hmkv_keychange op)
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            if (op == HMKV_KEYCHANGE_PUT)
                changes_.emplace_back(value ? value : "a color that is not text");
            else
                changes_.emplace_back(std::nullopt);
        }
        wake_.notify_all();
        return true;
    }

    void run()
    {
        while (!stopped()) {
            try {
                follow();
            } catch (const std::exception &error) {
                std::cerr << "lamp: " << error.what() << std::endl;
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait_for(lock, std::chrono::seconds(1), [this] { return stop_; });
            }
        }
    }

    // Follow the key until the watch ends. First watch, then read: so no change
    // falls between the two. What was queued in between comes a second time, and
    // the last change is still the last.
    void follow()
    {
        watch_.reset();
        {
            std::lock_guard<std::mutex> guard(mutex_);
            changes_.clear();
        }
        hmkv_watcher *watcher = nullptr;
        check(hmkv_watch_cb(store_.get(), wanted_.c_str(),
                            HMKV_KEYCHANGE_PUT | HMKV_KEYCHANGE_DELETE, on_change, this, &watcher),
              "watch");
        watch_.reset(watcher);

        show(get(store_.get(), wanted_).value_or("off"));
        for (;;) {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [this] { return stop_ || !changes_.empty(); });
            if (stop_ || !changes_.front())
                return;
            std::string color = std::move(*changes_.front());
            changes_.pop_front();
            lock.unlock();
            show(color);
        }
    }

    void show(const std::string &color)
    {
        put(store_.get(), actual_, color);
        // In one piece: another thread may print, too.
        std::cout << "lamp: " + color + "\n" << std::flush;
    }

    bool stopped()
    {
        std::lock_guard<std::mutex> guard(mutex_);
        return stop_;
    }

    const std::string wanted_, actual_;
    Store store_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Change> changes_; // under the mutex
    bool stop_ = false;          // under the mutex
    Watch watch_;                // the worker's
    std::thread worker_;
};

// ----------------------------------------------------------------- the demo

// Turn the lamp through a store of its own, and wait each time until it shows.
static bool turn(const std::string &endpoint, const std::string &prefix)
{
    try {
        Store store = open_store(endpoint, nullptr);
        const std::string wanted = prefix + "/wanted", actual = prefix + "/actual";
        if (get(store.get(), prefix + "/alive") != "1")
            throw std::runtime_error("the daemon is not there");
        for (const std::string color : { "red", "green", "off", "blue" }) {
            std::cout << "-- wanted: " + color + "\n" << std::flush;
            if (color == "off")
                check(hmkv_delete(store.get(), wanted.c_str()), "delete");
            else
                put(store.get(), wanted, color);
            for (int i = 0; get(store.get(), actual) != color; i++) {
                if (i == 300)
                    throw std::runtime_error("the lamp never showed " + color);
                // Wakes on a change; the time limit covers one just before it.
                check(hmkv_watch(store.get(), actual.c_str(), 100, nullptr, nullptr), "watch");
            }
        }
        return true;
    } catch (const std::exception &error) {
        std::cerr << "demo: " << error.what() << std::endl;
        return false;
    }
}

int main(int argc, char **argv)
{
    const std::string endpoint = argc > 1 ? argv[1] : "mem:";
    const std::string prefix = argc > 2 ? argv[2] : "lamp";
    bool good = true;

    // Blocked before the first thread starts, so that sigwait() gets them.
    sigset_t signals;
    int received = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    try {
        std::thread demo;
        {
            Lamp lamp(endpoint, prefix);
            std::cout << "lamp: ready" << std::endl;
            if (endpoint.compare(0, 4, "mem:") == 0)
                demo = std::thread([&] {
                    good = turn(endpoint, prefix);
                    kill(getpid(), SIGTERM);
                });
            sigwait(&signals, &received);
            if (demo.joinable())
                demo.join();
        }
        std::cout << "signal " << received << ": ended" << std::endl;
    } catch (const std::exception &error) {
        std::cerr << "lamp: " << error.what() << std::endl;
        return 1;
    }
    return good ? 0 : 1;
}
