<?php

declare(strict_types=1);

namespace Edge\Http;

use Edge\Exception\ClientGoneException;
use Edge\Frame;
use Edge\Output;
use Edge\Worker as Process;

/**
 * Sends what code prints as the body of a response, as it is printed.
 *
 * @internal Worker::print() uses it.
 */
final class Printer
{
    /** How much is sent before the server is asked whether it has kept up. */
    private const BYTES = 256 << 10;
    private const PIECES = 64;

    private string $waiting = '';
    private int $bytes = 0;
    private int $pieces = 0;
    private bool $gone = false;
    private ?\Throwable $failure = null;

    /** @var array{bool, mixed}|null what the signal meant before leave() */
    private ?array $signal = null;

    /**
     * @param string $context the status and headers; they leave with the first piece
     * @param int    $buffer  how many bytes are gathered for a piece; 0 sends each by itself, at once
     */
    public function __construct(private readonly Process $process, private string $context, private readonly int $buffer)
    {
    }

    /**
     * Sends what $print prints. When the client is gone, $print is interrupted by a ClientGoneException, which ends here. Where PHP
     * lacks the extension pcntl it cannot be: it runs on, and nobody hears it.
     */
    public function run(callable $print): void
    {
        $process = $this->process;
        $process->endBuffers();
        $process->sink = $this->write(...);
        try {
            $print();
            $process->endBuffers();
            $this->send();
        } catch (ClientGoneException) {
            // That is how an endless stream ends.
        } finally {
            if ($this->gone) {
                // What is left in buffers goes where the rest went: nowhere.
                $process->endBuffers();
            }
            $process->sink = null;
            $this->stopListening();
        }
        if ($this->failure !== null) {
            throw $this->failure;
        }
        // The server expects an empty frame of those whose client is gone.
        $this->gone ? $process->respond('', '', 0) : $process->respond($this->context, '');
    }

    /** PHP turns a function off that throws while it handles output, so nothing may leave here. */
    private function write(string $bytes): void
    {
        if ($this->gone) {
            return;
        }
        $this->waiting .= $bytes;
        if (\strlen($this->waiting) >= $this->buffer) {
            try {
                $this->send();
            } catch (\Throwable $e) {
                $this->failure = $e;
                $this->leave();
            }
        }
    }

    private function send(): void
    {
        $piece = $this->waiting;
        if ($piece === '' || $this->gone) {
            return;
        }
        $this->waiting = '';
        $this->bytes += \strlen($piece);
        // PING keeps code that prints fast from running far ahead of a slow client; every piece looks for a client that left.
        $ping = ++$this->pieces === self::PIECES || $this->bytes >= self::BYTES;
        $this->process->part($this->context, $piece, $ping ? Frame::STREAM | Frame::PING : Frame::STREAM);
        $this->context = '';
        $relay = $this->process->relay;
        if ($ping ? !$relay->awaitPong() : $relay->stopped()) {
            $this->leave();
        }
        if ($ping) {
            $this->bytes = $this->pieces = 0;
        }
    }

    /**
     * Interrupts $print a little later, when PHP handles no output any more: PHP calls the handler of a signal between two steps of
     * the code, where it may throw.
     */
    private function leave(): void
    {
        $this->gone = true;
        if ($this->signal !== null || !\function_exists('pcntl_alarm')) {
            return;
        }
        $this->signal = [\pcntl_async_signals(true), \pcntl_signal_get_handler(\SIGALRM)];
        \pcntl_signal(\SIGALRM, static function (): void {
            if (!self::handlingOutput()) {
                throw new ClientGoneException();
            }
            \pcntl_alarm(1);
        });
        \pcntl_alarm(1);
    }

    private static function handlingOutput(): bool
    {
        foreach (\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS) as $frame) {
            if (($frame['class'] ?? '') === Output::class && \str_contains($frame['function'], '{closure')) {
                return true;
            }
        }

        return false;
    }

    private function stopListening(): void
    {
        if ($this->signal !== null) {
            \pcntl_alarm(0);
            \pcntl_signal(\SIGALRM, $this->signal[1]);
            \pcntl_async_signals($this->signal[0]);
        }
    }
}
