<?php

declare(strict_types=1);

namespace Edge;

/**
 * Where what the application prints goes: to standard error, and so into the server's log, or to the sink of its worker while a
 * response is printed.
 *
 * Printed output is caught by an output buffer, the outermost one. An application may remove it, as those do that end all buffers
 * before they print a stream. What is printed then goes past PHP's buffers to file descriptor 1, and so that has to be the right file:
 * standard error, or while a response is printed a file whose content follows. A second later, when the application has seen that
 * there is no buffer left, the buffer is made again; where PHP lacks the extension pcntl, at the end. Such a worker is replaced
 * after the response.
 *
 * @internal
 */
final class Output
{
    /** Where standard output is the pipe, the buffer must stay. */
    private const KEPT = \PHP_OUTPUT_HANDLER_CLEANABLE | \PHP_OUTPUT_HANDLER_FLUSHABLE;

    // Numbers of C: F_SETFD, FD_CLOEXEC, O_WRONLY | O_APPEND.
    private const SETFD = 2;
    private const CLOEXEC = 1;
    private const APPEND = \PHP_OS_FAMILY === 'Linux' ? 0x401 : 0x9;

    /** C's functions on file descriptors, once the pipe to the server is no longer number 1; null where PHP lacks FFI. */
    private static ?\FFI $c = null;

    /** @var resource|null the pipe */
    private static $pipe = null;

    private bool $installed = false;

    /** How many output buffers there are when the application has none. */
    private int $level = 0;

    /** @var resource|null what was printed past the buffer, to be read */
    private $past = null;

    public function __construct(private readonly Worker $worker)
    {
        if (\filter_var(\ini_get('display_errors'), \FILTER_VALIDATE_BOOL) || \ini_get('display_errors') === 'stdout') {
            \ini_set('display_errors', 'stderr');
        }
        \ini_set('html_errors', '0');
        $this->install();
    }

    /**
     * The pipe to the server that this process has as its standard output, under another number where PHP has the extension FFI.
     * Standard output is standard error then: neither STDOUT nor the output of a program that the application runs gets between the
     * frames. Closing STDOUT would do it without FFI, but code takes it for granted.
     *
     * @return resource
     */
    public static function takePipe()
    {
        if (self::$pipe !== null) {
            return self::$pipe;
        }
        try {
            $c = \FFI::cdef('int dup2(int from, int to); int open(const char *path, int flags, ...); int close(int fd); '
                . 'int dup(int fd); int fcntl(int fd, int command, ...);');
        } catch (\Throwable) {
            return self::$pipe = \STDOUT;
        }
        // The number that the pipe will have: the lowest that is free.
        $c->close($number = $c->dup(1));
        $pipe = @\fopen('php://fd/1', 'w');
        if ($pipe === false || $c->dup2(2, 1) !== 1) {
            return self::$pipe = \STDOUT;
        }
        // A program that the application leaves behind must not keep it open.
        $c->fcntl($number, self::SETFD, self::CLOEXEC);
        self::$c = $c;

        return self::$pipe = $pipe;
    }

    /** Ends the buffers that the application has begun and not ended; what is in them is printed. */
    public function end(): void
    {
        $level = $this->installed ? $this->level : 0;
        while (\ob_get_level() > $level && @\ob_end_flush()) {
        }
        if (!$this->installed) {
            $this->again();
        }
    }

    private function again(): void
    {
        $this->install();
        if (\headers_sent()) {
            // From the first byte past its buffers on, PHP starts no session in this process any more.
            $this->worker->retire();
        }
        if ($this->past === null) {
            return;
        }
        $past = $this->past;
        $this->past = null;
        self::$c->dup2(2, 1);
        while (($piece = (string) \fread($past, 1 << 18)) !== '') {
            $this->print($piece);
        }
    }

    private function install(): void
    {
        // Every piece leaves at once.
        $this->installed = \ob_start(function (string $output, int $phase): string {
            $this->print($output);
            if ($phase & \PHP_OUTPUT_HANDLER_FINAL) {
                $this->removed();
            }

            return '';
        }, 1, self::$c === null && self::$pipe !== null ? self::KEPT : \PHP_OUTPUT_HANDLER_STDFLAGS);
        $this->level = \ob_get_level();
    }

    private function print(string $output): void
    {
        if ($output !== '') {
            $this->worker->sink !== null ? ($this->worker->sink)($output) : \fwrite(\STDERR, $output);
        }
    }

    /** The application has removed the buffer. It cannot be made again from inside of it. */
    private function removed(): void
    {
        $this->installed = false;
        if ($this->worker->sink === null || self::$c === null) {
            return;
        }
        $file = \tempnam(\sys_get_temp_dir(), 'edge');
        $number = self::$c->open($file, self::APPEND);
        self::$c->dup2($number, 1);
        self::$c->close($number);
        $this->past = \fopen($file, 'r');
        \unlink($file);
        if (\function_exists('pcntl_alarm')) {
            $this->wake([\pcntl_async_signals(true), \pcntl_signal_get_handler(\SIGALRM)]);
        }
    }

    /** @param array{bool, mixed} $before what the signal meant */
    private function wake(array $before): void
    {
        \pcntl_signal(\SIGALRM, function () use ($before): void {
            if (!$this->installed && \ob_get_level() > 0) {
                // A buffer of the application's own: ours has to be the outermost one.
                \pcntl_alarm(1);

                return;
            }
            \pcntl_signal(\SIGALRM, $before[1]);
            \pcntl_async_signals($before[0]);
            if (!$this->installed) {
                $this->again();
            }
        });
        \pcntl_alarm(1);
    }
}
