package driver;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.ReplyError;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Drives the official Java client: commands come as JSON lines on stdin, answers and events go out on stdout.
 *
 * <p>{"id", "client", "do", ...} is answered with {"id", "result"} or {"id", "error": {code, message}}. Every event of a
 * client is {"of", "event", "channel"?, ...}. The same lines as of the program that drives the JavaScript client.
 */
public final class Main {
    private Main() {}

    /** Answers one command, now or later. */
    interface Answer {
        void done(Throwable error, JsonElement result);
    }

    public static void main(String[] arguments) throws IOException {
        Output output = new Output();
        Map<String, DrivenClient> clients = new HashMap<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonObject command = JsonParser.parseString(line).getAsJsonObject();
            long id = command.get("id").getAsLong();
            Answer answer = (error, result) -> output.write(answered(id, error, result));
            try {
                String name = command.get("client").getAsString();
                if (command.get("do").getAsString().equals("make")) {
                    clients.put(name, new DrivenClient(name, command, output));
                    answer.done(null, null);
                } else {
                    clients.get(name).command(command, answer);
                }
            } catch (Throwable error) { // whatever it is: who asked gets to know
                answer.done(error, null);
            }
        }
        System.exit(0); // the SDK's threads would keep the process
    }

    private static JsonObject answered(long id, Throwable error, JsonElement result) {
        JsonObject message = new JsonObject();
        message.addProperty("id", id);
        if (error == null) {
            message.add("result", result == null ? new JsonObject() : result);
        } else {
            message.add("error", Shapes.error(error));
        }
        return message;
    }

    /** The code of an error reply; 0 for an error of the SDK's own. */
    static int codeOf(Throwable error) {
        return error instanceof ReplyError reply ? reply.getCode() : 0;
    }
}
