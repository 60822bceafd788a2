<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The hub refused to publish. */
class MercureException extends RPCException
{
}
