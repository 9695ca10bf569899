// Suite.java - a table of named cases, each of which says what a server answered.
//
//   java Suite SET LABEL NAMESRV BROKER [PATTERN...]
//
// SET is frame, client or admin. A case is a function that returns its answer:
// counts, states, codes and orders, never times, ids or addresses, so that two
// servers can be compared by the lines. Each prints one:
//
//   case LABEL.NAME ok|fail|skip ANSWER
//
// and what is not as the case itself demands (lost messages, say) is thrown.

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

final class Suite {
	static final int AT_ONCE = Integer.getInteger("at.once", 4);
	static final long CASE_SECONDS = Integer.getInteger("case.seconds", 150);

	// Names that no other run uses: stamp() is cut out of the answers.
	static final String STAMP = System.getProperty("label", "")
		+ Long.toString(System.currentTimeMillis() / 100, 36);

	// Tools' output is caught by replacing System.out; the answers go here.
	private static final java.io.PrintStream OUT = System.out;

	static String namesrv;
	static String broker;
	static final Map<String, Callable<String>> CASES = new LinkedHashMap<>();

	static final class Skip extends RuntimeException {
		Skip(String why) {
			super(why);
		}
	}

	private Suite() {
	}

	static void add(String name, Callable<String> body) {
		if (CASES.put(name, body) != null)
			throw new IllegalStateException("two cases named " + name);
	}

	static String fresh(String name) {
		return name + "-" + STAMP;
	}

	static String normal(String answer) {
		return answer.replace("-" + STAMP, "").replace(broker, "BROKER")
			.replace(namesrv, "NAMESRV").replaceAll("\\s+", " ").trim();
	}

	static void check(boolean holds, String what, Object... more) {
		if (!holds)
			throw new AssertionError(more.length == 0 ? what : String.format(what, more));
	}

	static void same(Object expected, Object got, String what) {
		check(expected.equals(got), what + ": expected " + expected + ", got " + got);
	}

	interface Condition {
		boolean holds() throws Exception;
	}

	// For what no event tells: asks again each 50 ms.
	static void until(int seconds, String what, Condition condition) throws Exception {
		long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
		while (!condition.holds()) {
			check(System.nanoTime() < end, "not within " + seconds + " s: " + what);
			Thread.sleep(50);
		}
	}

	// How long it took goes to the log.
	private static String timed(String name, Callable<String> body) throws Exception {
		long began = System.nanoTime();
		try {
			return body.call();
		} finally {
			System.err.printf("%6d ms %s%n", (System.nanoTime() - began) / 1_000_000, name);
		}
	}

	private static String outcome(Future<String> run) {
		try {
			return ("ok " + normal(run.get(CASE_SECONDS, TimeUnit.SECONDS))).trim();
		} catch (TimeoutException e) {
			run.cancel(true);
			return "fail no end after " + CASE_SECONDS + " s";
		} catch (Exception e) {
			Throwable why = e.getCause() == null ? e : e.getCause();
			if (why instanceof Skip)
				return "skip " + why.getMessage();
			if (!(why instanceof AssertionError) || Boolean.getBoolean("trace"))
				why.printStackTrace();
			return "fail " + normal(why.toString().replace("java.lang.AssertionError: ", ""));
		}
	}

	private static boolean wanted(String name, String[] args) {
		for (int i = 4; i < args.length; i++)
			if (name.matches(args[i].replace(".", "\\.").replace("*", ".*")))
				return true;
		return args.length == 4;
	}

	public static void main(String[] args) throws Exception {
		String label = args[1];
		namesrv = args[2];
		broker = args[3];
		switch (args[0]) {
		case "frame":
			FrameCore.add();
			FrameSend.add();
			FramePull.add();
			FrameAdmin.add();
			break;
		case "client":
			Sending.add();
			Consuming.add();
			Groups.add();
			Pulling.add();
			break;
		default: // not compiled with an old client
			Class.forName("Mqadmin").getDeclaredMethod("add").invoke(null);
		}
		ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
		List<String> names = new ArrayList<>();
		List<Future<String>> runs = new ArrayList<>();
		for (Map.Entry<String, Callable<String>> one : CASES.entrySet()) {
			String name = label + "." + one.getKey();
			if (!wanted(name, args))
				continue;
			names.add(name);
			runs.add(threads.submit(() -> timed(name, one.getValue())));
		}
		boolean bad = false;
		for (int i = 0; i < names.size(); i++) {
			String outcome = outcome(runs.get(i));
			bad |= outcome.startsWith("fail");
			OUT.println("case " + names.get(i) + " " + outcome);
			OUT.flush();
		}
		System.exit(bad ? 1 : 0);
	}
}
