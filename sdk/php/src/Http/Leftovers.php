<?php

declare(strict_types=1);

namespace Edge\Http;

/**
 * What PHP itself would have forgotten at the end of a request, had the process ended.
 *
 * @internal The framework bridges call it after every response.
 */
final class Leftovers
{
    public static function clear(): void
    {
        if (\function_exists('session_status')) {
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
        if (\ini_get('max_execution_time') !== '0') {
            // A limit that a request has set for itself would end the worker during another one.
            \set_time_limit(0);
        }
    }
}
