package driver;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.ConnectionTokenEvent;
import io.github.centrifugal.centrifuge.ConnectionTokenGetter;
import io.github.centrifugal.centrifuge.DuplicateSubscriptionException;
import io.github.centrifugal.centrifuge.HistoryOptions;
import io.github.centrifugal.centrifuge.Options;
import io.github.centrifugal.centrifuge.ResultCallback;
import io.github.centrifugal.centrifuge.SubscriptionOptions;
import io.github.centrifugal.centrifuge.SubscriptionTokenEvent;
import io.github.centrifugal.centrifuge.SubscriptionTokenGetter;
import io.github.centrifugal.centrifuge.TokenCallback;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;

/**
 * One client of the SDK, and what it is told to do. A token is asked for on stdout and given with {"do": "token",
 * "fetch", "token"}.
 */
final class DrivenClient {
    private static final AtomicLong LAST_FETCH = new AtomicLong();
    private static final int SOONEST = 50; // milliseconds until it connects or subscribes again
    private static final int LATEST = 500;

    private final String name;
    private final Output output;
    private final Client client;
    private final Map<Long, TokenCallback> fetches = new ConcurrentHashMap<>();

    DrivenClient(String name, JsonObject wishes, Output output) {
        this.name = name;
        this.output = output;
        Options options = new Options();
        options.setMinReconnectDelay(SOONEST);
        options.setMaxReconnectDelay(LATEST);
        JsonObject given = given(wishes);
        if (given.has("maxServerPingDelay")) {
            options.setMaxServerPingDelay(given.get("maxServerPingDelay").getAsInt());
        }
        if (given.has("timeout")) {
            options.setTimeout(given.get("timeout").getAsInt());
        }
        if (wished(wishes, "fetches_token")) {
            options.setTokenGetter(new ConnectionTokenGetter() {
                @Override
                public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                    fetch(null, callback);
                }
            });
        }
        client = new Client(wishes.get("url").getAsString(), options, new Events(name, output));
    }

    private static JsonObject given(JsonObject wishes) {
        return wishes.has("options") ? wishes.getAsJsonObject("options") : new JsonObject();
    }

    private static boolean wished(JsonObject wishes, String what) {
        return wishes.has(what) && wishes.get(what).getAsBoolean();
    }

    private void fetch(String channel, TokenCallback callback) {
        long id = LAST_FETCH.incrementAndGet();
        fetches.put(id, callback);
        JsonObject event = new JsonObject();
        event.addProperty("of", name);
        event.addProperty("event", "token_wanted");
        event.addProperty("fetch", id);
        if (channel != null) {
            event.addProperty("channel", channel);
        }
        output.write(event);
    }

    /** Do what a command says; the answer is given when the SDK has it. */
    void command(JsonObject command, Main.Answer answer) throws DuplicateSubscriptionException {
        String channel = command.has("channel") ? command.get("channel").getAsString() : "";
        String what = command.get("do").getAsString();
        switch (what) {
            case "publish" -> client.publish(channel, data(command), to(answer, result -> null));
            case "presence" -> client.presence(channel, to(answer, Shapes::presence));
            case "presence_stats" -> client.presenceStats(channel, to(answer, Shapes::stats));
            case "history" -> client.history(channel, page(command), to(answer, Shapes::history));
            case "rpc" -> client.rpc(
                    command.get("method").getAsString(),
                    data(command),
                    to(answer, result -> Events.holding("data", Shapes.value(result.getData()))));
            case "send" -> client.send(data(command), error -> answer.done(error, null));
            default -> {
                now(what, channel, command);
                answer.done(null, null);
            }
        }
    }

    private void now(String what, String channel, JsonObject command) throws DuplicateSubscriptionException {
        switch (what) {
            case "connect" -> client.connect();
            case "disconnect" -> client.disconnect();
            case "subscribe" -> subscribe(channel, command);
            case "resubscribe" -> client.getSubscription(channel).subscribe();
            case "unsubscribe" -> client.getSubscription(channel).unsubscribe();
            case "token" -> fetches
                    .remove(command.get("fetch").getAsLong())
                    .Done(null, command.get("token").getAsString());
            default -> throw new IllegalArgumentException("nobody can " + what);
        }
    }

    private void subscribe(String channel, JsonObject command) throws DuplicateSubscriptionException {
        SubscriptionOptions options = new SubscriptionOptions();
        options.setMinResubscribeDelay(SOONEST);
        options.setMaxResubscribeDelay(LATEST);
        JsonObject given = given(command);
        options.setPositioned(wished(given, "positioned"));
        options.setRecoverable(wished(given, "recoverable"));
        options.setJoinLeave(wished(given, "joinLeave"));
        if (wished(command, "fetches_token")) {
            options.setTokenGetter(new SubscriptionTokenGetter() {
                @Override
                public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                    fetch(event.getChannel(), callback);
                }
            });
        }
        client.newSubscription(channel, options, new SubscriptionEvents(name, output)).subscribe();
    }

    private static byte[] data(JsonObject command) {
        return Shapes.bytes(command.get("data"));
    }

    private static HistoryOptions page(JsonObject command) {
        JsonObject given = given(command);
        int limit = given.has("limit") ? given.get("limit").getAsInt() : 0;
        return new HistoryOptions.Builder()
                .withLimit(limit)
                .withReverse(wished(given, "reverse"))
                .build();
    }

    private static <T> ResultCallback<T> to(Main.Answer answer, Function<T, JsonElement> shape) {
        return (error, result) -> answer.done(error, error == null ? shape.apply(result) : null);
    }
}
