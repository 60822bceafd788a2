<?php

declare(strict_types=1);

namespace Edge\Exception;

/** What every exception of this package implements. */
interface EdgeException extends \Throwable
{
}
