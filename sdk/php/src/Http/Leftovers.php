<?php

declare(strict_types=1);

namespace Edge\Http;

/**
 * What PHP itself would have forgotten at the end of a request, had the process ended.
 *
 * @internal The framework bridges make one when they have booted, and clear it after every response.
 */
final class Leftovers
{
    /** Settings that code changes for itself and that change what other requests see. All of them would cost too much to look up. */
    private const SETTINGS = ['memory_limit', 'default_socket_timeout', 'precision', 'serialize_precision', 'display_errors', 'include_path'];

    /** @var array<string, string> */
    private readonly array $settings;
    private readonly string $zone;
    private readonly int $reporting;
    private readonly string|false $locale;
    private readonly string|false $folder;
    private readonly int $umask;
    private readonly string|null $encoding;
    private readonly mixed $onError;
    private readonly mixed $onException;

    public function __construct()
    {
        $settings = [];
        foreach (self::SETTINGS as $name) {
            $settings[$name] = (string) \ini_get($name);
        }
        $this->settings = $settings;
        $this->zone = \date_default_timezone_get();
        $this->reporting = \error_reporting();
        $this->locale = \setlocale(\LC_ALL, '0');
        $this->folder = \getcwd();
        $this->umask = \umask();
        $this->encoding = \function_exists('mb_internal_encoding') ? \mb_internal_encoding() : null;
        $this->onError = self::onError();
        $this->onException = self::onException();
    }

    public function clear(): void
    {
        self::clearSession();
        foreach ($this->settings as $name => $value) {
            if (\ini_get($name) !== $value) {
                \ini_set($name, $value);
            }
        }
        if (\date_default_timezone_get() !== $this->zone) {
            \date_default_timezone_set($this->zone);
        }
        if (\error_reporting() !== $this->reporting) {
            \error_reporting($this->reporting);
        }
        if (\setlocale(\LC_ALL, '0') !== $this->locale) {
            self::localize((string) $this->locale);
        }
        if (\getcwd() !== $this->folder) {
            \chdir((string) $this->folder);
        }
        \umask($this->umask);
        if ($this->encoding !== null && \mb_internal_encoding() !== $this->encoding) {
            \mb_internal_encoding($this->encoding);
        }
        // Handlers are a stack: those of the request lie on top. One below that is gone, too, cannot be brought back this way.
        for ($i = 0; $i < 16 && ($handler = self::onError()) !== $this->onError && $handler !== null; $i++) {
            \restore_error_handler();
        }
        for ($i = 0; $i < 16 && ($handler = self::onException()) !== $this->onException && $handler !== null; $i++) {
            \restore_exception_handler();
        }
    }

    /** The least, for handlers that do the rest themselves: nobody gets the session or the time limit of another. */
    public static function clearSession(): void
    {
        if (\ini_get('max_execution_time') !== '0') {
            // A limit that a request has set for itself would end the worker during another one.
            \set_time_limit(0);
        }
        if (!\function_exists('session_status')) {
            return;
        }
        if (\session_status() === \PHP_SESSION_ACTIVE) {
            // As at the end of a script.
            \session_write_close();
        }
        if (\session_id() !== '') {
            // The next visitor must not get this one's session.
            \session_id('');
        }
        $_SESSION = [];
    }

    /** Where the categories differ, C calls it LC_CTYPE=C;LC_NUMERIC=…, and takes it only one by one from PHP. */
    private static function localize(string $locale): void
    {
        if (!\str_contains($locale, '=')) {
            \setlocale(\LC_ALL, $locale);

            return;
        }
        foreach (\explode(';', $locale) as $part) {
            [$category, $value] = \explode('=', $part, 2) + [1 => 'C'];
            if (\defined($category)) {
                \setlocale(\constant($category), $value);
            }
        }
    }

    private static function onError(): mixed
    {
        $handler = \set_error_handler(null);
        \restore_error_handler();

        return $handler;
    }

    private static function onException(): mixed
    {
        $handler = \set_exception_handler(null);
        \restore_exception_handler();

        return $handler;
    }
}
