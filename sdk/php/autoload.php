<?php

declare(strict_types=1);

// For use without Composer: require this file instead of vendor/autoload.php.
spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Edge\\')) {
        $file = __DIR__ . '/src/' . strtr(substr($class, 5), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});
