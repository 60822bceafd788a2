<?php

declare(strict_types=1);

namespace Edge\Http;

use Edge\Frame;
use Edge\Trace;
use Edge\Worker as Process;

/**
 * Serves HTTP requests:
 *
 *     (new Worker())->serve(function (Request $request): Response {
 *         return Response::text('Hello ' . $request->path);
 *     });
 */
final class Worker
{
    /** How many pieces of a stream are sent before the server is asked whether it has kept up. */
    private const PIECES = 8;

    private readonly Process $process;

    public function __construct(?Process $process = null)
    {
        $this->process = $process ?? Process::create();
    }

    /**
     * Calls the handler for one request after the other until the server tells the worker to stop. An exception answers 500,
     * with its text in the server's log, and the worker goes on.
     *
     * @param callable(Request, self): Response $handler
     */
    public function serve(callable $handler): void
    {
        $process = $this->process;
        $level = \ob_get_level();
        while ($process->wait()) {
            try {
                $response = $handler($this->request(), $this);
                if (!$response instanceof Response) {
                    throw new \UnexpectedValueException('the function given to serve() returned ' . \get_debug_type($response) . ' instead of an ' . Response::class);
                }
                // The process must not keep the memory of a body until the next one comes.
                $process->body = '';
                $this->send($response->status, $response->headers, $response->body);
                // What the response holds, such as an open generator, is let go before the wait for the next request.
                $response = null;
            } catch (\Throwable $e) {
                $this->fail($e);
            }
            if (\ob_get_level() !== $level) {
                $process->endBuffers();
            }
        }
    }

    /** Waits for a request; null means that the worker is to end. For loops of one's own, with send() or error(). */
    public function wait(): ?Request
    {
        return $this->process->wait() ? $this->request() : null;
    }

    private function request(): Request
    {
        $request = Request::ofTask($this->process);
        if (Trace::$follows !== false) {
            Trace::follow($request);
        }

        return $request;
    }

    /**
     * Answers the request.
     *
     * @param array<string, string|int|float|list<string>> $headers
     * @param string|iterable<string>                      $body
     */
    public function send(int $status, array $headers, string|iterable $body): void
    {
        if ($status < 200 || $status > 599) {
            throw new \InvalidArgumentException("$status is not the status of a response: it must be between 200 and 599");
        }
        $context = Message::response($status, $headers);
        if (\is_string($body)) {
            $this->process->respond($context, $body);

            return;
        }
        $this->stream($context, $body);
    }

    /**
     * Answers with what $print prints, as it prints it. $buffer gathers that many bytes for a piece; with 0 every echo leaves at
     * once. When the client is gone, $print is interrupted by a ClientGoneException, which ends here.
     *
     * @param array<string, string|int|float|list<string>> $headers
     */
    public function print(int $status, array $headers, callable $print, int $buffer = 0): void
    {
        (new Printer($this->process, Message::response($status, $headers), $buffer))->run($print);
    }

    /**
     * Sends the headers of a 103 Early Hints, or of another informational response, at once. The response follows as ever.
     *
     * @param array<string, string|list<string>> $headers
     */
    public function earlyHints(array $headers, int $status = 103): void
    {
        $this->process->part(Message::response($status, $headers), '');
    }

    /** Whether the client is gone. Only for a worker made with Edge\Worker::create(cancel: true). */
    public function cancelled(): bool
    {
        return $this->process->cancelled();
    }

    /** Reports that the request failed. */
    public function error(string $text): void
    {
        $this->process->error($text);
    }

    /**
     * Sends the pieces as they come. The first one carries the status and the headers; an empty last frame ends the response.
     *
     * @param iterable<string> $pieces
     */
    private function stream(string $context, iterable $pieces): void
    {
        $relay = $this->process->relay;
        $sent = 0;
        foreach ($pieces as $piece) {
            $ping = ++$sent % self::PIECES === 0;
            $this->process->part($context, (string) $piece, $ping ? Frame::STREAM | Frame::PING : Frame::STREAM);
            $context = '';
            // PING keeps a fast generator from running far ahead of a slow client, and every piece looks for a client that left.
            if ($ping ? !$relay->awaitPong() : $relay->stopped()) {
                $this->process->respond('', '', 0);

                return;
            }
        }
        $this->process->respond($context, '');
    }

    private function fail(\Throwable $e): void
    {
        // When the response is complete, for instance because a finally block of its generator failed, this only logs.
        $this->process->error((string) $e);
    }
}
